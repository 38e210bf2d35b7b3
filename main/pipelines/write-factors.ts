import type { JobResult } from '../contract/engine.ts';
import type { MergeJob, ResetRankJob } from '../contract/job.ts';
import type { Metadata } from '../lora/metadata.ts';
import { LoraWriter, type RankedModule } from '../lora/write-lora.ts';
import type { Results } from '../networks/lora-tasks.ts';
import type { LoraAlgebra, LoraPass } from './lora-algebra.ts';

/** The kinds of tasks that make factors. */
type Making = 'reset' | 'cut' | 'merge';

export interface NewLora<K extends Making> {
  readonly modules: readonly RankedModule[];
  readonly metadata: Metadata;
  /** A task for each of `modules`. */
  readonly pass: LoraPass<K>;
  readonly onFactors?: (factors: Results[K]) => void;
}

/** Performs tasks that make factors and writes these as they come; the file appears when it is whole. */
export async function writeFactors<K extends Making>(
  algebra: LoraAlgebra,
  { output, dtype, keyForm }: ResetRankJob | MergeJob,
  { modules, metadata, pass, onFactors }: NewLora<K>,
): Promise<JobResult> {
  const writer = new LoraWriter(output, { modules, dtype, keyForm }, metadata);
  try {
    await algebra.run(pass, (factors, at) => {
      const { path } = modules[at] as RankedModule;
      writer.write(path, 'A', factors.a);
      writer.write(path, 'B', factors.b);
      onFactors?.(factors);
    });
    const tensorHash = await writer.finish();
    const rank = Math.max(...modules.map((module) => module.rank));
    return { type: 'done', output, bytes: writer.bytes, rank, modules: modules.length, tensorHash, ...algebra.summary() };
  } catch (error) {
    writer.abort();
    throw error;
  }
}
