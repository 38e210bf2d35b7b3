import { I2lError } from '../contract/errors.ts';
import type { DecodeJob, JobResult } from '../contract/job.ts';
import { targetBlocks } from '../lora/targets.ts';
import { loraMetadata, type Provenance } from '../lora/metadata.ts';
import { LoraWriter, STORED_DTYPE } from '../lora/write-lora.ts';
import { factorName } from '../networks/i2l.ts';
import { prepare, type NetworkRunner, type PreparedNetwork } from './context.ts';
import type { OpenExpert } from './models.ts';

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

export type DecodeOutcome = Pick<JobResult, 'output' | 'bytes' | 'images' | 'rank' | 'modules' | 'tensorHash'>;

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
  const writer = new LoraWriter(output, { modules, dtype, keyForm }, loraMetadata({ ...provenance, target: expert.target, rank }));
  const places = new Map(
    modules.flatMap((module) =>
      (['A', 'B'] as const).map((factor) => [factorName(module, factor), [module.path, factor] as const]),
    ),
  );
  try {
    await runner.run(prepared, {
      load: ({ count }) => ({
        embedding: { data: embeddings, dims: [count, expert.config.width] },
        factor: { data: Float32Array.from(provenance.images, ({ weight }) => weight), dims: [count, 1] },
      }),
      sink: (name, tensor) => {
        const place = places.get(name);
        if (!place) throw new I2lError('INTERNAL', `${name} is not a factor of this LoRA.`);
        writer.write(...place, tensor);
      },
    });
    const tensorHash = writer.finish();
    return { output, bytes: writer.bytes, images, rank, modules: modules.length, tensorHash };
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/** The reference's weights: every image counts the same. */
export function equalWeights(hashes: readonly string[]): { sha256: string; weight: number }[] {
  return hashes.map((sha256) => ({ sha256, weight: 1 / hashes.length }));
}

export const SYNTHETIC_WARNING = 'Made with random weights for a rehearsal: it has the right form and no meaning.';
