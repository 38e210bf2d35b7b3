import type { JobDetails, JobState, JobView, Lane, LogLine } from '../contract/queue.ts';

/** A job as it is kept: what others see of it, what it works on, and how it went so far. */
export interface JobRow extends JobView {
  /** JSON, not yet parsed by its kind. */
  readonly input: unknown;
  /** JSON; null until the job is done. */
  readonly result: unknown;
  /** How often in a row the process died under it before it had finished another step. */
  readonly crashes: number;
}

export interface NewJob {
  readonly kind: string;
  readonly lane: Lane;
  readonly title: string;
  readonly input: unknown;
  readonly priority: number;
  readonly createdAt: number;
}

/** What changes in the life of a job. */
export type JobChange = Partial<
  Pick<
    JobRow,
    | 'state'
    | 'priority'
    | 'position'
    | 'attempts'
    | 'crashes'
    | 'progress'
    | 'error'
    | 'result'
    | 'startedAt'
    | 'finishedAt'
    | 'runSeconds'
  >
>;

/** What is absent filters nothing out. */
export interface JobFilter {
  readonly states?: readonly JobState[] | undefined;
  readonly kinds?: readonly string[] | undefined;
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

export interface Step {
  readonly key: string;
  /** JSON. */
  readonly value: unknown;
}

/** Lines of a job's log that are kept; the oldest go. */
export const LOG_LINES = 500;

/**
 * Where jobs are kept. All calls are synchronous, and what is written outside a transaction is durable as
 * soon as the call returns. Order is by priority (highest first), then position, then id.
 * @throws I2lError from every call, where the store can't be read or written; nothing has changed then
 */
export interface JobStore {
  /** Everything that `work` writes, or nothing of it if it throws. May be nested. */
  transaction<T>(work: () => T): T;
  /** Gives the job the next id, never used before, and the last position; it waits. */
  insert(job: NewJob): JobRow;
  get(id: number): JobRow | undefined;
  /** Jobs that have not ended in the order in which they run, then the others, the latest first. */
  list(filter?: JobFilter): JobRow[];
  /** The first waiting job of a lane. */
  next(lane: Lane): JobRow | undefined;
  /** The first waiting job of any lane under which the process died at least so often in a row. */
  nextCrashed(crashes: number): JobRow | undefined;
  /** A position behind all others. */
  lastPosition(): number;
  update(id: number, change: JobChange): void;
  /** With its journal and its log. */
  remove(id: number): void;
  /** All jobs in these states. @returns their ids */
  removeAll(states: readonly JobState[]): number[];
  /** In the order in which they were finished. */
  steps(id: number): Step[];
  step(id: number, key: string): Step | undefined;
  /** Replaces the step of the same key. */
  putStep(id: number, step: Step): void;
  clearSteps(id: number): void;
  appendLog(id: number, line: LogLine): void;
  log(id: number): LogLine[];
  /** Whether the whole queue is. */
  paused(): boolean;
  setPaused(paused: boolean): void;
  /** Units a second of each kind of work, as measured on this machine. */
  rates(): ReadonlyMap<string, number>;
  putRate(kind: string, unitsPerSecond: number): void;
}

export function viewOf(row: JobRow): JobView {
  const { id, kind, lane, title, state, priority, position, attempts, progress, error, ...times } = row;
  const { createdAt, startedAt, finishedAt, runSeconds } = times;
  return {
    ...{ id, kind, lane, title, state, priority, position, attempts, progress, error },
    ...{ createdAt, startedAt, finishedAt, runSeconds },
  };
}

export function detailsOf(row: JobRow, steps: readonly Step[]): JobDetails {
  return { ...viewOf(row), input: row.input, result: row.result, steps: steps.map(({ key }) => key) };
}
