import type { z } from 'zod';
import { I2lError } from '../contract/errors.ts';
import type { Note } from '../contract/notes.ts';
import type { Lane, QueueProgress } from '../contract/queue.ts';
import type { WorkItem } from './eta.ts';

/** Why a run is asked to stop. It stops at its next safe point, whatever the reason. */
export type StopReason = 'cancel' | 'pause' | 'shutdown';

/**
 * What does the work of one kind of job. It may be stopped, or its process killed, at any moment, and is
 * then run again with the same input: it asks the journal what is done. A run that was stopped rejects with
 * the signal's reason, or any CANCELLED.
 */
export interface JobRunner<Input, Result> {
  readonly kind: string;
  readonly lane: Lane;
  /** Parses what is enqueued, and once more what comes back from the store. */
  readonly inputSchema: z.ZodType<Input>;
  /** @returns JSON */
  run(input: Input, context: JobContext): Promise<Result>;
}

/** Runners of any input; each parses its own. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnyRunner = JobRunner<any, unknown>;

export interface ProgressUpdate extends QueueProgress {
  /** Work done and in all, for the time left where the run doesn't say it itself; see eta.ts. */
  readonly work?: readonly WorkItem[] | undefined;
}

export interface JobContext {
  readonly jobId: number;
  /** Aborted with the I2lError that {@link stopped} makes. */
  readonly signal: AbortSignal;
  /** As often as one likes; the latest counts. */
  progress(update: ProgressUpdate): void;
  /** A line of the log that is kept with the job. */
  log(note: Note): void;
  readonly journal: Journal;
}

/** Steps that are finished for good, by a key of the runner's choice. */
export interface Journal {
  done(key: string): boolean;
  get(key: string): unknown;
  /**
   * Notes a step with what it came to (JSON). What `record` writes to the same store is in the same
   * transaction: both are there after a power cut, or neither.
   * @throws I2lError where the store can't be written; the step is then not finished
   */
  finish(key: string, value: unknown, record?: () => void): void;
}

export function stopped(reason: StopReason): I2lError {
  return new I2lError('CANCELLED', `The job was asked to stop (${reason}).`, { stop: reason });
}

/** Whether a run came to rest because it was stopped, and not because something went wrong. */
export function isStop(thrown: unknown, signal: AbortSignal): boolean {
  if (thrown instanceof I2lError) return thrown.code === 'CANCELLED';
  return signal.aborted && (thrown === signal.reason || (thrown instanceof Error && thrown.name === 'AbortError'));
}
