import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import type { Lane } from '../../main/contract/queue.ts';
import type { JobContext, JobRunner } from '../../main/jobs/runner.ts';

/** A run that does what the test tells it to. */
export interface Run {
  readonly context: JobContext;
  readonly input: unknown;
  readonly finish: (result?: unknown) => void;
  readonly fail: (error: unknown) => void;
}

/** Runs that are at work, by job; a second one of the same job is an error at once. */
export class Bench {
  readonly runs = new Map<number, Run>();
  /** Jobs in the order in which they were started. */
  readonly started: number[] = [];
  readonly doubles: number[] = [];

  runner(kind: string, lane: Lane, inputSchema: z.ZodType = z.unknown()): JobRunner<unknown, unknown> {
    return { kind, lane, inputSchema, run: (input, context) => this.#run(input, context) };
  }

  of(id: number): Run {
    const run = this.runs.get(id);
    if (!run) throw new Error(`job ${id} does not run`);
    return run;
  }

  /** Comes to rest as it was told to. */
  rest(id: number): void {
    const { context, fail } = this.of(id);
    fail(context.signal.reason);
  }

  async #run(input: unknown, context: JobContext): Promise<unknown> {
    if (this.runs.has(context.jobId)) this.doubles.push(context.jobId);
    this.started.push(context.jobId);
    const { promise, resolve: finish, reject: fail } = Promise.withResolvers<unknown>();
    this.runs.set(context.jobId, { context, input, finish, fail });
    try {
      return await promise;
    } finally {
      this.runs.delete(context.jobId);
    }
  }
}

/** Until everything that can happen by itself has happened. */
export async function calm(): Promise<void> {
  await setImmediate();
  await setImmediate();
}
