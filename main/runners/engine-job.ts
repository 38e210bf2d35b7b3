import type { z } from 'zod';
import type { EngineEvent, JobProgress, JobResult } from '../contract/engine.ts';
import { I2lError } from '../contract/errors.ts';
import type { CreateJob, Job } from '../contract/job.ts';
import { note, type Note } from '../contract/notes.ts';
import { runInEngine } from '../engine-process.ts';
import type { Lane } from '../contract/queue.ts';
import type { JobContext, JobRunner, ProgressUpdate } from '../jobs/runner.ts';

/** Starts an engine; tests put something else in its place. */
export type StartEngine = typeof runInEngine;

export interface EngineJobKind<J extends Job> {
  readonly kind: J['kind'];
  readonly schema: z.ZodType<J>;
  /** 'light' for those that a user waits for while looking: seconds, beside a job of minutes. */
  readonly lane?: Lane;
  /** Made ready when the engine is done; what it returns is written together with the note that the job is done. */
  readonly record?: ((job: J, result: JobResult) => Promise<() => void>) | undefined;
}

/** The step that is finished when the engine is. */
const DONE = 'engine';

/**
 * Runs jobs of one kind that have one result, each in an engine of its own. The engine writes its file under
 * another name and renames it, so a run that was stopped or killed left nothing; once it is done, the job is
 * not run again, even if the process dies before the queue has heard of it.
 */
export function engineRunner<J extends Job>(
  { kind, schema, record, lane = 'engine' }: EngineJobKind<J>,
  start: StartEngine = runInEngine,
): JobRunner<J, unknown> {
  return {
    kind,
    lane,
    inputSchema: schema,
    run: async (job, context) => {
      if (context.journal.done(DONE)) return context.journal.get(DONE);
      const result = await startTold(job, context, start);
      context.journal.finish(DONE, result, await record?.(job, result));
      return result;
    },
  };
}

/** Runs an engine for a job of the queue, which shows its events. @throws I2lError as the engine */
export function startTold(job: Job, context: JobContext, start: StartEngine): Promise<JobResult> {
  return start(job, { signal: context.signal, onEvent: (event) => tell(context, job, event) });
}

/** What of a job its speed depends on. */
type ToldJob = Pick<Job, 'threads'> & Pick<CreateJob, 'eightBit'>;

/** What of an engine's events the queue shows: progress, and a line of log for each note and each failed set. */
export function tell(context: JobContext, job: ToldJob, event: EngineEvent): void {
  if (event.type === 'progress') context.progress(progressOf(event, job));
  else if (event.type === 'note') context.log(event);
  else if (event.type === 'set-failed') context.log(notMade(event.output, I2lError.fromShape(event.error)));
}

function notMade(file: string, error: I2lError): Note {
  return note('LORA_NOT_MADE', `Not made: ${file}: ${error.message}`, { file }, error);
}

/** The queue knows how fast this machine was before, so its time left stands in place of the engine's. */
function progressOf(
  { step, stage, bytesDone, bytesTotal, device, work }: JobProgress,
  { threads, eightBit }: ToldJob,
): ProgressUpdate {
  const arithmetic = eightBit && device === 'cpu' ? `${device}, 8 bits` : device;
  const machine = threads === 0 ? arithmetic : `${arithmetic} with ${threads} threads`;
  return {
    ...{ step, stage, bytesDone, bytesTotal },
    work: work.map(({ step: of, ...item }) => ({ ...item, kind: `${machine}: ${of}`, guess: 1 })),
  };
}
