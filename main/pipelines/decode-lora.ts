import type { DecodeJob } from '../contract/job.ts';
import type { TensorMap } from '../contract/tensor.ts';
import { targetBlocks } from '../lora/targets.ts';
import { loraMetadata, type Provenance } from '../lora/metadata.ts';
import { STORED_DTYPE } from '../lora/write-lora.ts';
import { prepare, type NetworkRunner, type PreparedNetwork } from './context.ts';
import type { OpenExpert } from './models.ts';
import { streamLoras, type LoraFileRequest, type LoraOutcome } from './stream-lora.ts';

export function prepareExpert(name: string, expert: OpenExpert, dtype: DecodeJob['dtype']): PreparedNetwork {
  // A factor of the file holds the ranks of all images side by side: they go in one run.
  return prepare(name, expert.stages(STORED_DTYPE[dtype]), true);
}

/** One LoRA: its images' embeddings, and how much each of them counts. */
export interface DecodeSet {
  readonly output: string;
  /** [images, width] */
  readonly embeddings: Float32Array;
  readonly provenance: Omit<Provenance, 'rank' | 'target'>;
}

export interface DecodeRequest extends Pick<DecodeJob, 'dtype' | 'keyForm'> {
  readonly sets: readonly DecodeSet[];
  /** What the expert's part is multiplied by. */
  readonly strength: number;
}

/**
 * Decodes embeddings into LoRA files, all sets in one pass over the weights: each image's rank concatenated,
 * A scaled by the image's weight. The files appear when they are whole.
 */
export async function decodeToFiles(
  runner: NetworkRunner,
  prepared: PreparedNetwork,
  expert: OpenExpert,
  { sets, strength, dtype, keyForm }: DecodeRequest,
): Promise<LoraOutcome[]> {
  const { width } = expert.config;
  const factors = sets.flatMap(({ provenance }) => provenance.images.map(({ weight }) => weight * strength));
  const rows = decodedRows(factors.length);
  const embedding = new Float32Array(rows * width);
  let at = 0;
  for (const { embeddings } of sets) {
    embedding.set(embeddings, at);
    at += embeddings.length;
  }
  const factor = new Float32Array(rows);
  factor.set(factors);
  const load = (): TensorMap => ({
    embedding: { data: embedding, dims: [rows, width] },
    factor: { data: factor, dims: [rows, 1] },
  });
  const files = sets.map((set): LoraFileRequest => ({ ...fileOf(set, expert), dtype, keyForm }));
  return streamLoras(runner, prepared, { load, images: rows }, files);
}

/**
 * Rows that the expert is run over for this many images: at least two, since onnxruntime multiplies one lone
 * row otherwise than several, and a set of one image would depend on whether others were decoded with it.
 */
export function decodedRows(images: number): number {
  return Math.max(2, images);
}

function fileOf({ output, provenance }: DecodeSet, { config, target }: OpenExpert): Omit<LoraFileRequest, 'dtype' | 'keyForm'> {
  const rank = config.rank * provenance.images.length;
  const modules = targetBlocks(target).flatMap((block) => block.modules.map((module) => ({ ...module, rank })));
  return { output, modules, metadata: loraMetadata({ ...provenance, target, rank }) };
}

export const SYNTHETIC_WARNING = 'Made with random weights for a rehearsal: it has the right form and no meaning.';
