import type { LoraDetail, LoraExpert, LoraView } from '../contract/loras.ts';
import { fromStored } from './places.ts';

/** Rows of LoRAs, and what they are to the rest of the app. */
export interface LoraRow {
  readonly id: number;
  readonly name: string;
  /** As stored; see places.ts. */
  readonly path: string;
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly sha256: string;
  readonly tensorHash: string;
  readonly target: string;
  readonly rankMin: number;
  readonly rankMax: number;
  readonly dtype: string;
  readonly keyForm: string;
  readonly modules: number;
  readonly warning: string;
  readonly synthetic: number;
  readonly setId: number | null;
  readonly imageCount: number;
  readonly spectrum: string | null;
  readonly rating: number;
  readonly favourite: number;
  readonly notes: string;
  /** JSON. */
  readonly triggerWords: string;
  readonly defaultStrength: number;
  readonly recipe: string;
  readonly parentId: number | null;
  readonly preview: string | null;
  readonly madeAt: number | null;
  readonly addedAt: number;
  readonly updatedAt: number;
  readonly missing: number;
  readonly trashedAt: number | null;
  readonly trashedFrom: string | null;
  readonly movingTo: string | null;
  readonly movingPid: number | null;
  /** JSON. */
  readonly tags: string;
  readonly experts: string;
}

export const LORA_COLUMNS = `
  id, name, path, bytes, mtime_ms AS mtimeMs, sha256, tensor_hash AS tensorHash, target, rank_min AS rankMin,
  rank_max AS rankMax, dtype, key_form AS keyForm, modules, warning, synthetic, set_id AS setId,
  image_count AS imageCount, spectrum, rating, favourite, trigger_words AS triggerWords,
  default_strength AS defaultStrength, recipe, parent_id AS parentId, preview, made_at AS madeAt, added_at AS addedAt,
  updated_at AS updatedAt, missing, trashed_at AS trashedAt, trashed_from AS trashedFrom, moving_to AS movingTo,
  moving_pid AS movingPid,
  (SELECT notes FROM lora_texts WHERE lora_id = loras.id) AS notes,
  (SELECT json_group_array(tag) FROM (SELECT tag FROM lora_tags WHERE lora_id = loras.id ORDER BY folded)) AS tags,
  (SELECT json_group_array(json_object('expert', expert, 'role', role, 'fingerprint', fingerprint, 'strength', strength)) FROM
    (SELECT * FROM lora_experts WHERE lora_id = loras.id ORDER BY position)) AS experts`;

export function viewOf(folder: string, row: LoraRow): LoraView {
  const { id, name, bytes, sha256, tensorHash, target, dtype, keyForm, modules, warning, setId, imageCount, rating } = row;
  const { notes, defaultStrength, recipe, parentId, preview, madeAt, addedAt, updatedAt, trashedAt } = row;
  return {
    ...{ id, name, bytes, sha256, tensorHash, target, dtype, keyForm, modules, warning, setId, imageCount, rating },
    ...{ notes, defaultStrength, recipe, parentId, preview, madeAt, addedAt, updatedAt, trashedAt },
    file: fromStored(folder, row.path),
    autoV2: sha256.slice(0, 10).toUpperCase(),
    autoV3: tensorHash.slice(0, 12).toUpperCase(),
    rank: { min: row.rankMin, max: row.rankMax },
    favourite: row.favourite === 1,
    missing: row.missing === 1,
    synthetic: row.synthetic === 1,
    triggerWords: JSON.parse(row.triggerWords) as string[],
    tags: JSON.parse(row.tags) as string[],
    experts: JSON.parse(row.experts) as LoraExpert[],
  };
}

export function detailOf(folder: string, row: LoraRow, found: Pick<LoraDetail, 'state' | 'madeFrom'>): LoraDetail {
  return {
    ...viewOf(folder, row),
    ...found,
    missing: found.state === 'missing',
    spectrum: row.spectrum === null ? null : fromStored(folder, row.spectrum),
  };
}
