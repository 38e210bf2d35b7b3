import type { JobState } from '../contract/queue.ts';

/**
 * What can happen to a job. Wishes of a user: pause, resume, cancel, retry, requeue. What the queue does:
 * start. What a run comes to: done, fail; stop, at rest because it was asked to or was interrupted from
 * outside; release, at rest because the queue stops it for a while. And crash: found running by a new process.
 */
export const JOB_EVENTS = [
  'start',
  'done',
  'fail',
  'stop',
  'release',
  'crash',
  'pause',
  'resume',
  'cancel',
  'retry',
  'requeue',
] as const;
export type JobEvent = (typeof JOB_EVENTS)[number];

/**
 * All there is; what is missing is refused. A wish that is already granted changes nothing, so that two
 * windows may both ask. A pausing job can't be resumed: its runner has already been told to stop. What a
 * cancelled run failed with is of no more interest, but what it finished all the same is done.
 */
const TABLE: Readonly<Record<JobState, Readonly<Partial<Record<JobEvent, JobState>>>>> = {
  waiting: { start: 'running', pause: 'paused', resume: 'waiting', cancel: 'cancelled', requeue: 'waiting' },
  running: {
    done: 'done',
    fail: 'failed',
    stop: 'cancelled',
    release: 'waiting',
    crash: 'waiting',
    pause: 'pausing',
    resume: 'running',
    cancel: 'cancelling',
  },
  pausing: {
    done: 'done',
    fail: 'failed',
    stop: 'paused',
    release: 'paused',
    crash: 'paused',
    pause: 'pausing',
    cancel: 'cancelling',
  },
  paused: { pause: 'paused', resume: 'waiting', cancel: 'cancelled', requeue: 'waiting' },
  cancelling: {
    done: 'done',
    fail: 'cancelled',
    stop: 'cancelled',
    release: 'cancelled',
    crash: 'cancelled',
    cancel: 'cancelling',
  },
  done: { retry: 'waiting' },
  failed: { retry: 'waiting' },
  cancelled: { cancel: 'cancelled', retry: 'waiting' },
};

/** The state that follows, or undefined where the event is refused. */
export function nextState(state: JobState, event: JobEvent): JobState | undefined {
  return TABLE[state][event];
}

/** States of a job that has a runner at work. */
export const ACTIVE_STATES = ['running', 'pausing', 'cancelling'] as const satisfies readonly JobState[];

export function isActive(state: JobState): boolean {
  return (ACTIVE_STATES as readonly JobState[]).includes(state);
}
