import type { EngineEvent, JobResult } from '../contract/engine.ts';
import { outputsOf, type Job } from '../contract/job.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import { KeeperOverfull, WeightKeeper } from '../offload/weight-keeper.ts';
import type { PipelineContext } from './context.ts';

export { KeeperOverfull, WeightKeeper };

/**
 * Every job that the engine knows. Each loads what it needs and no more: an engine's start is a good part of a
 * short job.
 * @throws I2lError what it failed with; KeeperOverfull, with nothing said, where a fresh process has to take the job
 */
export async function runJob(context: PipelineContext, job: Job): Promise<JobResult> {
  for (const output of outputsOf(job)) removeStaleParts(output);
  const { keeper } = context;
  return keeper && keeper.size > 0 ? runBeside(keeper, context, job) : run(context, job);
}

/** Beside what is kept: what a job says before its room is sure waits until then, since a fresh process would say it again. */
async function runBeside(keeper: WeightKeeper, context: PipelineContext, job: Job): Promise<JobResult> {
  const before = keeper.jobs;
  const unsaid: EngineEvent[] = [];
  const say = (): void => {
    for (const event of unsaid.splice(0)) context.emit(event);
  };
  const emit = (event: EngineEvent): void => {
    unsaid.push(event);
    if (keeper.jobs > before) say();
  };
  try {
    const result = await run({ ...context, emit }, job);
    say();
    return result;
  } catch (error) {
    if (!(error instanceof KeeperOverfull)) say();
    throw error;
  }
}

async function run(context: PipelineContext, job: Job): Promise<JobResult> {
  switch (job.kind) {
    case 'create':
      return (await import('./image-to-lora.ts')).create(context, job);
    case 'encode':
      return (await import('./image-to-lora.ts')).encode(context, job);
    case 'decode':
      return (await import('./image-to-lora.ts')).decode(context, job);
    case 'reset-rank':
      return (await import('./reset-rank.ts')).resetRank(context, job);
    case 'spectrum':
      return (await import('./reset-rank.ts')).computeSpectrum(context, job);
    case 'merge':
      return (await import('./merge-loras.ts')).mergeLoras(context, job);
    case 'check-device':
      return (await import('./device-check.ts')).checkDeviceJob(context, job);
    case 'diff':
      return (await import('./diff-loras.ts')).diffLoras(context, job);
  }
}
