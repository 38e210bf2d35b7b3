import { I2lError } from '../../main/contract/errors.ts';
import type { Job } from '../../main/contract/job.ts';
import { runInEngine } from '../../main/engine-process.ts';
import { watchProcesses, type ProcessWatch } from '../bench/process-watch.ts';

/** What a job took: the most memory that its engine and all below it had at once, in bytes. */
export type Outcome =
  | { readonly state: 'done'; readonly peak: number }
  /** The smallest budget that the refusal names. */
  | { readonly state: 'refused'; readonly smallest: number };

/** Runs a job in an engine of its own and watches its memory from outside. @throws I2lError what else it failed with */
export async function measuredJob(job: Job): Promise<Outcome> {
  let watch: ProcessWatch | undefined;
  try {
    await runInEngine(job, { onEvent: () => undefined, onStart: (pid) => (watch = watchProcesses(pid)) });
    return { state: 'done', peak: watch?.stop().peak ?? Number.NaN };
  } catch (error) {
    watch?.stop();
    const { code, fields } = I2lError.from(error);
    if (code === 'MEMORY_BUDGET') return { state: 'refused', smallest: Number(fields['smallest']) };
    throw error;
  }
}
