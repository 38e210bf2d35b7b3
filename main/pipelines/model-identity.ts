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
  /** Made with random weights, by its own word. */
  readonly synthetic: boolean;
}

export function identityOf(checkpoint: Checkpoint, id: string): ModelIdentity {
  return {
    id,
    fingerprint: checkpoint.fingerprint(),
    contentId: contentId(checkpoint),
    path: checkpoint.path,
    synthetic: checkpoint.files.some(({ metadata }) => 'synthetic' in metadata),
  };
}
