import {
  decodeJobSchema,
  diffJobSchema,
  encodeJobSchema,
  mergeJobSchema,
  resetRankJobSchema,
  spectrumJobSchema,
} from '../contract/job.ts';
import type { AnyRunner } from '../jobs/runner.ts';
import { createRunner } from './create-job.ts';
import { engineRunner } from './engine-job.ts';

/** One for every kind of job that the queue can be given. */
export function allRunners(): AnyRunner[] {
  return [
    createRunner(),
    engineRunner({ kind: 'encode', schema: encodeJobSchema }),
    engineRunner({ kind: 'decode', schema: decodeJobSchema }),
    engineRunner({ kind: 'reset-rank', schema: resetRankJobSchema }),
    engineRunner({ kind: 'spectrum', schema: spectrumJobSchema }),
    engineRunner({ kind: 'merge', schema: mergeJobSchema }),
    engineRunner({ kind: 'diff', schema: diffJobSchema }),
  ];
}
