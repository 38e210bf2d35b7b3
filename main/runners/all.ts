import {
  decodeJobSchema,
  diffJobSchema,
  encodeJobSchema,
  mergeJobSchema,
  resetRankJobSchema,
  spectrumJobSchema,
} from '../contract/job.ts';
import { runInEngine } from '../engine-process.ts';
import type { AnyRunner } from '../jobs/runner.ts';
import { findJobModels } from '../pipelines/find-job-models.ts';
import { createRunner } from './create-job.ts';
import { engineRunner, type StartEngine } from './engine-job.ts';
import { modelRunners, type GetModelStore } from './model-jobs.ts';

/** One for every kind of job that the queue can be given. */
export function allRunners(models: GetModelStore, startEngine: StartEngine = runInEngine): AnyRunner[] {
  const start: StartEngine = async (job, run) => startEngine(await findJobModels(job, models, run.signal), run);
  return [
    createRunner({}, start),
    engineRunner({ kind: 'encode', schema: encodeJobSchema }, start),
    engineRunner({ kind: 'decode', schema: decodeJobSchema }, start),
    engineRunner({ kind: 'reset-rank', schema: resetRankJobSchema }, start),
    engineRunner({ kind: 'spectrum', schema: spectrumJobSchema }, start),
    engineRunner({ kind: 'merge', schema: mergeJobSchema }, start),
    engineRunner({ kind: 'diff', schema: diffJobSchema }, start),
    ...modelRunners(models),
  ];
}
