import type { JobResult } from '../contract/engine.ts';
import { outputsOf, type Job } from '../contract/job.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import type { PipelineContext } from './context.ts';

export { KeeperOverfull, WeightKeeper } from '../offload/weight-keeper.ts';

/**
 * Every job that the engine knows. Each loads what it needs and no more: an engine's start is a good part of a
 * short job.
 * @throws I2lError what it failed with
 */
export async function runJob(context: PipelineContext, job: Job): Promise<JobResult> {
  for (const output of outputsOf(job)) removeStaleParts(output);
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
