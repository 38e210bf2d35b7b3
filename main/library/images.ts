import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import type { Storage } from '../contract/library-values.ts';
import { lookAtImage, type ImageLook } from '../imaging/look.ts';
import { copyToPart, publishNew, publishOver, writePart } from '../weights/atomic-copy.ts';
import { fileState } from '../weights/file-state.ts';
import type { Database } from './database.ts';
import { removeFile } from './move-files.ts';
import { fromStored, imageCopy, thumbnailFile, toStored } from './places.ts';
import { makeFolder } from '../weights/make-folder.ts';

/** An image that was looked at, its thumbnail made, and its copy if one was asked for; not yet a row. */
export interface TakenImage extends Omit<ImageLook, 'thumbnail'> {
  /** Absolute. */
  readonly source: string;
  readonly storage: Storage;
  /** Name of its file under images/. */
  readonly copy: string | null;
}

interface ImageRow {
  readonly hash: string;
  readonly bytes: number;
  readonly copy: string | null;
}

/** Images by their content: what is known of them, their copies and thumbnails. */
export class Images {
  readonly #database: Database;
  /** Thumbnails in the making, so that ten requests for one decode it once. */
  readonly #making = new Map<string, Promise<string>>();

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Reads an image file; nothing is written to the database.
   * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE, DISK_FULL, FILE_WRITE_FAILED
   */
  async take(source: string, storage: Storage): Promise<TakenImage> {
    const { thumbnail, ...look } = await lookAtImage(source);
    await this.#writeThumbnail(look.sha256, thumbnail);
    const copy = storage === 'copied' ? await this.#copy(source, look) : null;
    return { ...look, source, storage, copy };
  }

  /** Makes a row of it, within the caller's write. */
  put({ sha256, bytes, width, height, format, perceptual, copy }: TakenImage, now: number): void {
    this.#database.run(PUT, { hash: sha256, bytes, width, height, format, perceptual, copy, now });
  }

  has(hash: string): boolean {
    return this.#database.get('SELECT 1 FROM images WHERE hash = ?', [hash]) !== undefined;
  }

  /** Keeps where an image was found that comes into no set, within the caller's write. */
  keepSource({ sha256, source, bytes, mtimeMs }: TakenImage): void {
    this.#database.run(KEEP_SOURCE, { hash: sha256, source: toStored(this.#database.folder, source), bytes, mtimeMs });
  }

  /**
   * The thumbnail's file, made again if it is gone.
   * @throws I2lError NOT_IN_LIBRARY; FILE_NOT_FOUND if no file has this content any more
   */
  async thumbnail(hash: string): Promise<string> {
    const file = thumbnailFile(this.#database.folder, hash);
    if (existsSync(file)) return file;
    const making = this.#making.get(hash) ?? this.#remake(hash).finally(() => this.#making.delete(hash));
    this.#making.set(hash, making);
    return making;
  }

  /**
   * A file that has this content now: its copy, or one that it was taken from.
   * @throws I2lError NOT_IN_LIBRARY, FILE_NOT_FOUND
   */
  async fileOf(hash: string): Promise<string> {
    const row = this.#database.get<ImageRow>('SELECT hash, bytes, copy FROM images WHERE hash = ?', [hash]);
    if (!row) throw new I2lError('NOT_IN_LIBRARY', `${hash}: the library has no such image.`, { hash });
    const copy = row.copy === null ? undefined : imageCopy(this.#database.folder, row.copy);
    if (copy !== undefined && existsSync(copy)) return copy;
    const sources = this.#database.all<{ path: string; bytes: number; mtimeMs: number }>(SOURCES, { hash });
    for (const { path, ...known } of sources) {
      const file = fromStored(this.#database.folder, path);
      if ((await fileState({ ...known, path: file, sha256: hash })).state === 'present') return file;
    }
    const last = copy ?? sources[0]?.path ?? hash;
    throw new I2lError('FILE_NOT_FOUND', `${last}: this image is gone or has changed; put it back, or take it out of the set.`, {
      file: last,
      hash,
      reason: 'image-moved',
    });
  }

  /**
   * Forgets images that no set, no LoRA and no preview uses any more, with their copies and thumbnails.
   * @returns how many
   * @throws I2lError FILE_WRITE_FAILED
   */
  async removeUnused(before: number): Promise<number> {
    const gone = this.#database.write(() => this.#database.all<ImageRow>(REMOVE_UNUSED, { before }));
    for (const { hash, copy } of gone) {
      if (copy !== null) await removeFile(imageCopy(this.#database.folder, copy));
      await removeFile(thumbnailFile(this.#database.folder, hash));
    }
    return gone.length;
  }

  async #remake(hash: string): Promise<string> {
    const file = await this.fileOf(hash);
    const { sha256, thumbnail } = await lookAtImage(file);
    if (sha256 !== hash) {
      throw new I2lError('FILE_NOT_FOUND', `${file}: it changed while it was read; try again.`, {
        file,
        hash,
        reason: 'changed-meanwhile',
      });
    }
    return this.#writeThumbnail(hash, thumbnail);
  }

  async #writeThumbnail(hash: string, thumbnail: Uint8Array): Promise<string> {
    const file = thumbnailFile(this.#database.folder, hash);
    if (existsSync(file)) return file;
    await makeFolder(dirname(file));
    await publishOver(await writePart(file, thumbnail));
    return file;
  }

  /** @returns the name of the copy under images/ */
  async #copy(source: string, { sha256, bytes, format }: Omit<ImageLook, 'thumbnail'>): Promise<string> {
    const known = this.#database.get<ImageRow>('SELECT hash, bytes, copy FROM images WHERE hash = ?', [sha256])?.copy;
    const name = known ?? `${sha256}.${format}`;
    const file = imageCopy(this.#database.folder, name);
    if (existsSync(file)) return name;
    await makeFolder(dirname(file));
    // If another process makes the same copy, it has the same content.
    await publishNew(await copyToPart(source, file, { size: bytes, sha256 }));
    return name;
  }
}

const PUT = `
  INSERT INTO images (hash, bytes, width, height, format, perceptual, copy, added_at)
  VALUES (:hash, :bytes, :width, :height, :format, :perceptual, :copy, :now)
  ON CONFLICT (hash) DO UPDATE SET copy = coalesce(copy, excluded.copy), perceptual = excluded.perceptual`;

const SOURCES = `
  SELECT source AS path, source_bytes AS bytes, source_mtime_ms AS mtimeMs FROM (
    SELECT set_id, source, source_bytes, source_mtime_ms FROM set_images WHERE hash = :hash
    UNION ALL SELECT NULL, source, source_bytes, source_mtime_ms FROM image_sources WHERE hash = :hash
  ) ORDER BY set_id NULLS LAST, source`;
const KEEP_SOURCE = `
  INSERT INTO image_sources (hash, source, source_bytes, source_mtime_ms) VALUES (:hash, :source, :bytes, :mtimeMs)
  ON CONFLICT (hash, source) DO UPDATE SET source_mtime_ms = excluded.source_mtime_ms`;
/** Those that were added just now may be on their way into a set. */
const REMOVE_UNUSED = `
  DELETE FROM images WHERE added_at <= :before
    AND hash NOT IN (SELECT hash FROM set_images)
    AND hash NOT IN (SELECT preview FROM loras WHERE preview IS NOT NULL)
    AND hash NOT IN (SELECT json_extract(value, '$.hash') FROM lora_texts, json_each(made_from, '$.images') WHERE made_from IS NOT NULL)
  RETURNING hash, bytes, copy`;
