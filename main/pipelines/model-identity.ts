import { statSync } from 'node:fs';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { contentId } from '../weights/content-id.ts';

/** What a model is known by in results, metadata and caches. */
export interface ModelIdentity {
  /** In the catalogue; of a model of other sizes, its network's name. */
  readonly id: string;
  readonly fingerprint: string;
  /** Of the values; see weights/content-id.ts. */
  readonly contentId: string;
  readonly path: string;
  /** Sizes and times of change of its files. */
  readonly stamp: string;
  /** Made with random weights, by its own word. */
  readonly synthetic: boolean;
}

export function identityOf(checkpoint: Checkpoint, id: string): ModelIdentity {
  return {
    id,
    fingerprint: checkpoint.fingerprint(),
    contentId: contentId(checkpoint),
    path: checkpoint.path,
    stamp: checkpoint.files.map(({ file, size }) => `${size}@${statSync(file).mtimeMs}`).join(),
    synthetic: checkpoint.files.some(({ metadata }) => 'synthetic' in metadata),
  };
}
