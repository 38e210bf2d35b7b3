import { outputsOf, type Job, type JobResult } from '../contract/job.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import type { PipelineContext } from './context.ts';
import { create, decode, encode } from './image-to-lora.ts';
import { diffLoras } from './diff-loras.ts';
import { mergeLoras } from './merge-loras.ts';
import { computeSpectrum, resetRank } from './reset-rank.ts';

/** Every job that the engine knows. @throws I2lError what it failed with */
export async function runJob(context: PipelineContext, job: Job): Promise<JobResult> {
  for (const output of outputsOf(job)) removeStaleParts(output);
  switch (job.kind) {
    case 'create':
      return create(context, job);
    case 'encode':
      return encode(context, job);
    case 'decode':
      return decode(context, job);
    case 'reset-rank':
      return resetRank(context, job);
    case 'spectrum':
      return computeSpectrum(context, job);
    case 'merge':
      return mergeLoras(context, job);
    case 'diff':
      return diffLoras(context, job);
  }
}
