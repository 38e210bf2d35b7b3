import { freemem } from 'node:os';
import { KEPT_STEP, type EngineEvent, type JobProgress } from '../contract/engine.ts';
import type { StartEngine } from './engine-job.ts';

/**
 * Work over weights that the last job has read is a kind of its own: they come from the system's memory, which is another
 * speed than the disk's, and a time left by that would be several times too long until the job has shown its own.
 */

/** Of a step whose weights are in the system's memory since the last job. */
const READ_BEFORE = ', read before';

/** @param available bytes of memory that hold nothing but files, or nothing at all */
export function tellingReadBefore(start: StartEngine, available: () => number = freemem): StartEngine {
  let lastRead: ReadonlySet<string> = new Set();
  return async (job, run) => {
    const before = lastRead;
    const read = new Set<string>();
    // As it is when the job begins: a step is of one kind from its first to its last piece.
    let mayHold: boolean | undefined;
    const told = (progress: JobProgress): JobProgress => {
      mayHold ??= progress.bytesTotal <= available();
      const isThere = mayHold;
      const work = progress.work.map((item) => {
        if (!item.step.endsWith(KEPT_STEP)) read.add(item.step);
        return isThere && before.has(item.step) ? { ...item, step: item.step + READ_BEFORE } : item;
      });
      return { ...progress, work };
    };
    const onEvent = (event: EngineEvent): void => run.onEvent(event.type === 'progress' ? told(event) : event);
    const result = await start(job, { ...run, onEvent });
    if (read.size > 0) lastRead = read;
    return result;
  };
}
