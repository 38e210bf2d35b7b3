import { I2lError } from '../contract/errors.ts';
import type { DiffJob, JobResult, MergeJob, ResetRankJob, SpectrumJob } from '../contract/job.ts';
import type { Metadata } from '../lora/metadata.ts';
import { LoraWriter, type RankedModule } from '../lora/write-lora.ts';
import { newFactorName } from '../networks/lora-factors.ts';
import { NetworkRunner, threadsOf, type PipelineContext, type PreparedNetwork } from './context.ts';

type AlgebraJob = SpectrumJob | ResetRankJob | MergeJob | DiffJob;

/** A runner for LoRA algebra: double precision on the CPU, all as one batch. */
export function startAlgebra(context: PipelineContext, job: AlgebraJob, network: PreparedNetwork): NetworkRunner {
  return new NetworkRunner(context, { device: 'cpu', threads: threadsOf(job.threads) }, [network], 1, job.memory);
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
  const places = new Map(
    modules.flatMap(({ path }) => (['A', 'B'] as const).map((factor) => [newFactorName(path, factor), [path, factor] as const])),
  );
  const runner = startAlgebra(context, job, stages);
  const writer = new LoraWriter(job.output, { modules, dtype: job.dtype, keyForm: job.keyForm }, metadata);
  try {
    await runner.run(stages, {
      load: () => ({}),
      sink: (name, tensor) => {
        const place = places.get(name);
        if (!place) throw new I2lError('INTERNAL', `${name} is not a factor of this LoRA.`);
        writer.write(...place, tensor);
      },
    });
    const tensorHash = writer.finish();
    const rank = Math.max(...modules.map((module) => module.rank));
    return {
      type: 'done',
      output: job.output,
      bytes: writer.bytes,
      rank,
      modules: modules.length,
      tensorHash,
      ...runner.summary(),
    };
  } catch (error) {
    writer.abort();
    throw error;
  } finally {
    await runner.close();
  }
}
