import type { DiffJob, JobResult, MergeJob, ResetRankJob, SpectrumJob } from '../contract/job.ts';
import type { Metadata } from '../lora/metadata.ts';
import type { RankedModule } from '../lora/write-lora.ts';
import { NetworkRunner, threadsOf, type PipelineContext, type PreparedNetwork } from './context.ts';
import { streamLora } from './stream-lora.ts';

type AlgebraJob = SpectrumJob | ResetRankJob | MergeJob | DiffJob;

/** A runner for LoRA algebra: double precision on the CPU, all as one batch. */
export function startAlgebra(context: PipelineContext, job: AlgebraJob, network: PreparedNetwork): NetworkRunner {
  return new NetworkRunner(context, { device: 'cpu', threads: threadsOf(job.threads) }, [{ network, images: 1 }], job.memory);
}

export interface NewLora {
  readonly modules: readonly RankedModule[];
  readonly metadata: Metadata;
  /** Emits each module's new factors, in the order of `modules`. */
  readonly stages: PreparedNetwork;
}

/** Runs stages that make factors and writes them as they come; the file appears when it is whole. */
export async function writeFactors(
  context: PipelineContext,
  job: ResetRankJob | MergeJob,
  { modules, metadata, stages }: NewLora,
): Promise<JobResult> {
  const runner = startAlgebra(context, job, stages);
  try {
    const { output, dtype, keyForm } = job;
    const outcome = await streamLora(runner, stages, () => ({}), { output, dtype, keyForm, modules, metadata });
    return { type: 'done', ...outcome, ...runner.summary() };
  } finally {
    await runner.close();
  }
}
