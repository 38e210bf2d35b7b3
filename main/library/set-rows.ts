import type { SetImage, SetSummary } from '../contract/sets.ts';
import type { Storage } from '../contract/library-values.ts';
import { fromStored, imageCopy } from './places.ts';

/** Rows of image sets, and what they are to the rest of the app. */

export interface SetRow {
  readonly id: number;
  readonly name: string;
  readonly notes: string;
  readonly target: string | null;
  readonly folder: string | null;
  readonly storage: Storage;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly trashedAt: number | null;
  readonly imageCount: number;
  /** JSON. */
  readonly cover: string;
}

const COVER_IMAGES = 4;

export const SET_COLUMNS = `
  id, name, notes, target, folder, storage, created_at AS createdAt, updated_at AS updatedAt, trashed_at AS trashedAt,
  (SELECT count(*) FROM set_images WHERE set_id = sets.id) AS imageCount,
  (SELECT json_group_array(hash) FROM
    (SELECT hash FROM set_images WHERE set_id = sets.id ORDER BY position LIMIT ${COVER_IMAGES})) AS cover`;

export function summaryOf(folder: string, row: SetRow): SetSummary {
  return {
    ...row,
    folder: row.folder === null ? null : fromStored(folder, row.folder),
    cover: JSON.parse(row.cover) as string[],
  };
}

export interface SetImageRow {
  readonly hash: string;
  readonly weight: number;
  readonly caption: string;
  readonly storage: Storage;
  readonly source: string;
  readonly sourceBytes: number;
  readonly sourceMtimeMs: number;
  readonly position: number;
  readonly copy: string | null;
  readonly bytes: number;
  readonly width: number;
  readonly height: number;
  readonly format: string;
  readonly perceptual: string;
}

export const SET_IMAGES = `
  SELECT hash, weight, caption, storage, source, source_bytes AS sourceBytes, source_mtime_ms AS sourceMtimeMs, position,
    copy, bytes, width, height, format, perceptual
  FROM set_images JOIN images USING (hash) WHERE set_id = :id ORDER BY position, hash`;

export function imageOf(folder: string, row: SetImageRow): SetImage {
  const { hash, weight, caption, storage, bytes, width, height, format, copy } = row;
  const source = fromStored(folder, row.source);
  const file = storage === 'copied' && copy !== null ? imageCopy(folder, copy) : source;
  return { hash, weight, caption, storage, source, file, bytes, width, height, format };
}
