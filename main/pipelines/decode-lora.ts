import type { DecodeJob, JobResult } from '../contract/job.ts';
import { targetBlocks } from '../lora/targets.ts';
import { loraMetadata, type Provenance } from '../lora/metadata.ts';
import { STORED_DTYPE } from '../lora/write-lora.ts';
import type { NetworkRun } from '../offload/executor.ts';
import { prepare, type NetworkRunner, type PreparedNetwork } from './context.ts';
import type { OpenExpert } from './models.ts';
import { streamLora, type LoraOutcome } from './stream-lora.ts';

export function prepareExpert(name: string, expert: OpenExpert, dtype: DecodeJob['dtype']): PreparedNetwork {
  // A factor of the file holds the ranks of all images side by side: they go in one run.
  return prepare(name, expert.stages(STORED_DTYPE[dtype]), true);
}

export interface DecodeRequest {
  readonly output: string;
  readonly dtype: DecodeJob['dtype'];
  readonly keyForm: DecodeJob['keyForm'];
  /** [images, width] */
  readonly embeddings: Float32Array;
  readonly images: number;
  readonly provenance: Omit<Provenance, 'rank' | 'target' | 'images'> & Pick<Provenance, 'images'>;
}

export type DecodeOutcome = LoraOutcome & Pick<JobResult, 'images'>;

/**
 * Decodes all images' embeddings into one LoRA file: each image's rank concatenated, A scaled by its
 * weight. The file appears when it is whole.
 */
export async function decodeToFile(
  runner: NetworkRunner,
  prepared: PreparedNetwork,
  expert: OpenExpert,
  request: DecodeRequest,
): Promise<DecodeOutcome> {
  const { output, dtype, keyForm, embeddings, images, provenance } = request;
  const rank = expert.config.rank * images;
  const modules = targetBlocks(expert.target).flatMap((block) => block.modules.map((module) => ({ ...module, rank })));
  const metadata = loraMetadata({ ...provenance, target: expert.target, rank });
  const load: NetworkRun['load'] = ({ count }) => ({
    embedding: { data: embeddings, dims: [count, expert.config.width] },
    factor: { data: Float32Array.from(provenance.images, ({ weight }) => weight), dims: [count, 1] },
  });
  return { ...(await streamLora(runner, prepared, load, { output, modules, dtype, keyForm, metadata })), images };
}

/** The reference's weights: every image counts the same. */
export function equalWeights(hashes: readonly string[]): { sha256: string; weight: number }[] {
  return hashes.map((sha256) => ({ sha256, weight: 1 / hashes.length }));
}

export const SYNTHETIC_WARNING = 'Made with random weights for a rehearsal: it has the right form and no meaning.';
