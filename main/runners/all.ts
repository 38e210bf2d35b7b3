import {
  decodeJobSchema,
  diffJobSchema,
  encodeJobSchema,
  mergeJobSchema,
  resetRankJobSchema,
  spectrumJobSchema,
  type MergeJob,
  type ResetRankJob,
} from '../contract/job.ts';
import { runInEngine } from '../engine-process.ts';
import type { AnyRunner } from '../jobs/runner.ts';
import { findJobModels } from '../pipelines/find-job-models.ts';
import { createRunner } from './create-job.ts';
import { engineRunner, type StartEngine } from './engine-job.ts';
import { exportRunners, type LibraryPlaces } from './export-job.ts';
import { mergeAtRankRunner } from './merge-at-rank-job.ts';
import { modelRunners, type GetModelStore } from './model-jobs.ts';
import type { RecordLora } from './record-lora.ts';
import { trainingExportRunner } from './training-export-job.ts';

/** One for every kind of job that the queue can be given. @param record LoRAs that are made, in the library */
export function allRunners(models: GetModelStore, record: RecordLora, startEngine: StartEngine = runInEngine): AnyRunner[] {
  const start: StartEngine = async (job, run) => startEngine(await findJobModels(job, models, run.signal), run);
  const recordOutput = async ({ output, library }: ResetRankJob | MergeJob): Promise<() => void> =>
    record({ file: output, note: library });
  return [
    createRunner(record, start),
    engineRunner({ kind: 'encode', schema: encodeJobSchema }, start),
    engineRunner({ kind: 'decode', schema: decodeJobSchema, record: ({ output }) => record({ file: output }) }, start),
    engineRunner({ kind: 'reset-rank', schema: resetRankJobSchema, record: recordOutput }, start),
    engineRunner({ kind: 'spectrum', schema: spectrumJobSchema, lane: 'light' }, start),
    engineRunner({ kind: 'merge', schema: mergeJobSchema, record: recordOutput }, start),
    engineRunner({ kind: 'diff', schema: diffJobSchema, lane: 'light' }, start),
    ...modelRunners(models),
  ];
}

/** Those of jobs over the library's LoRAs. */
export function libraryRunners(
  places: LibraryPlaces & { readonly record: RecordLora },
  startEngine: StartEngine = runInEngine,
): AnyRunner[] {
  return [
    ...exportRunners(places, startEngine),
    trainingExportRunner(places, startEngine),
    mergeAtRankRunner(places.record, startEngine),
  ];
}
