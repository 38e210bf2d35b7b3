import { JOB_STATES, type JobState, type JobView, type LogLine } from '../contract/queue.ts';
import { I2lError } from '../contract/errors.ts';
import { dataFolder } from '../data-folder.ts';
import { JobQueue } from '../jobs/queue.ts';
import { viewOf } from '../jobs/store.ts';
import { Database } from '../library/database.ts';
import { LibraryJobs } from '../library/jobs.ts';
import type { CommandContext } from './commands.ts';
import type { JobAction } from './job-actions.ts';
import { formatDuration } from './report.ts';

/** i2l jobs: the queue of this data folder, which the app and the server run. */

export interface ListJobsOptions {
  readonly state?: readonly string[];
}

/** Reads beside whoever runs the queue. */
export async function listJobs({ report }: CommandContext, { state }: ListJobsOptions): Promise<void> {
  const jobs = await withStore('guest', (store) => store.list({ states: state?.map(checkedState) }).map(viewOf));
  const lines = jobs.map(jobLine);
  report.result(lines.length === 0 ? 'There are no jobs.' : lines.join('\n'), { type: 'jobs', jobs });
}

export async function showJob({ report }: CommandContext, id: number): Promise<void> {
  const [job, log] = await withStore('guest', (store) => {
    const row = store.get(id);
    if (!row) throw new I2lError('JOB_NOT_FOUND', `There is no job ${id}; see i2l jobs ls.`, { id });
    return [row, store.log(id)] as const;
  });
  const words = [jobLine(viewOf(job)), ...(job.error ? [`  ${job.error.code}: ${job.error.message}`] : []), ...log.map(logLine)];
  report.result(words.join('\n'), { type: 'job', job, log });
}

/**
 * Changes jobs while nobody runs the queue; its runner has buttons for that.
 * @throws I2lError LIBRARY_IN_USE that names who runs it, JOB_NOT_FOUND, JOB_STATE
 */
export async function changeJobs({ report }: CommandContext, action: JobAction, ids: readonly number[]): Promise<void> {
  await withStore('owner', (store) => {
    const queue = new JobQueue({ store, runners: [] });
    for (const id of ids) {
      const job = queue[action](id);
      report.result(job ? jobLine(job) : `Job ${id} is forgotten.`, { type: 'job', id, job: job ?? null });
    }
  });
}

async function withStore<T>(role: 'guest' | 'owner', work: (store: LibraryJobs) => T): Promise<T> {
  const database = await Database.open(dataFolder(), { role, name: 'i2l jobs' });
  try {
    return work(new LibraryJobs(database));
  } finally {
    await database.close();
  }
}

function checkedState(text: string): JobState {
  const state = JOB_STATES.find((name) => name === text);
  if (state) return state;
  throw new I2lError('BAD_ARGUMENT', `--state: expected any of ${JOB_STATES.join(', ')}, not "${text}".`, { option: 'state' });
}

function jobLine({ id, state, title, progress, error, runSeconds }: JobView): string {
  const done = progress?.fraction === undefined ? '' : `${Math.round(100 * progress.fraction)} %`;
  const left = progress?.etaSeconds === undefined || state !== 'running' ? '' : `about ${formatDuration(progress.etaSeconds)} left`;
  const facts = [done, left, error?.code ?? '', runSeconds > 0 ? `ran ${formatDuration(runSeconds)}` : ''].filter(
    (fact) => fact !== '',
  );
  return `${String(id).padStart(5)}  ${state.padEnd(10)}  ${title}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}`;
}

function logLine({ at, text }: LogLine): string {
  return `  ${new Date(at).toISOString().slice(0, 19).replace('T', ' ')}  ${text}`;
}
