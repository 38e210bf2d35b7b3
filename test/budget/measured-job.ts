import { I2lError } from '../../main/contract/errors.ts';
import type { JobResult } from '../../main/contract/engine.ts';
import type { Job } from '../../main/contract/job.ts';
import { runInEngine, type StartEngineProcess } from '../../main/engine-process.ts';
import { watchProcesses, type ProcessWatch } from '../bench/process-watch.ts';

/** What a job took: the most memory that its engine and all below it had at once, in bytes. */
export type Outcome =
  | { readonly state: 'done'; readonly peak: number; readonly result: JobResult }
  /** The smallest budget that the refusal names. */
  | { readonly state: 'refused'; readonly smallest: number };

/** Runs a job in an engine, by default one of its own, and watches its memory from outside. @throws I2lError what else it failed with */
export async function measuredJob(job: Job, start?: StartEngineProcess): Promise<Outcome> {
  let watch: ProcessWatch | undefined;
  try {
    const onStart = (pid: number): void => void (watch = watchProcesses(pid));
    const result = await runInEngine(job, { onEvent: () => undefined, onStart }, start);
    return { state: 'done', peak: watch?.stop().peak ?? Number.NaN, result };
  } catch (error) {
    watch?.stop();
    const { code, fields } = I2lError.from(error);
    if (code === 'MEMORY_BUDGET') return { state: 'refused', smallest: Number(fields['smallest']) };
    throw error;
  }
}
