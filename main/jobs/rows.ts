import { I2lError } from '../contract/errors.ts';
import { hasEnded, type JobState } from '../contract/queue.ts';
import type { Clock } from './clock.ts';
import type { JobChange, JobRow, JobStore } from './store.ts';
import { ACTIVE_STATES, nextState, type JobEvent } from './transitions.ts';

/** What an event changes in a job's row besides what it brings along itself. */
export function changeOn(row: JobRow, event: JobEvent, state: JobState, clock: Clock): JobChange {
  const change: JobChange = { state, ...(hasEnded(state) && { finishedAt: clock.now() }) };
  if (event === 'start') return { ...change, attempts: row.attempts + 1, startedAt: clock.now() };
  // A run that came to rest of its own accord breaks the row of crashes.
  if (event === 'release' || event === 'stop' || event === 'done') return { ...change, crashes: 0 };
  if (event === 'crash') return { ...change, crashes: row.crashes + 1 };
  if (event === 'retry') return { ...change, crashes: 0, error: null, result: null, startedAt: null, finishedAt: null };
  return change;
}

export interface Recovery {
  readonly crashLimit: number;
  readonly clock: Clock;
}

/**
 * Puts jobs that a dead process left in the middle of something where they go on: a running one waits again
 * at its old place, unless the process died under it too often; a pausing one is paused, a cancelling one
 * cancelled.
 */
export function recover(store: JobStore, { crashLimit, clock }: Recovery): void {
  store.transaction(() => {
    for (const row of store.list({ states: ACTIVE_STATES })) {
      const change = changeOn(row, 'crash', nextState(row.state, 'crash') ?? row.state, clock);
      const isPoison = row.state === 'running' && row.crashes + 1 >= crashLimit;
      store.update(row.id, isPoison ? { ...change, ...crashed(row, clock) } : change);
    }
  });
}

function crashed(row: JobRow, clock: Clock): JobChange {
  const count = row.crashes + 1;
  const error = new I2lError(
    'JOB_CRASHED',
    `The app ended ${count} times in a row while job ${row.id} (${row.title}) was at the same step, so it is not started again by itself. ` +
      'Retry it, with less memory if it may have used it up.',
    { job: row.id, crashes: count },
  );
  return { state: nextState('running', 'fail') ?? 'failed', error: error.toShape(), finishedAt: clock.now() };
}
