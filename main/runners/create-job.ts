import { statSync } from 'node:fs';
import { loraSchema, type EngineEvent, type JobResult, type LoraWritten } from '../contract/engine.ts';
import { createJobSchema, type CreateJob, type SetJob } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { failureNote } from '../contract/notes.ts';
import { runInEngine } from '../engine-process.ts';
import type { JobContext, JobRunner, Journal } from '../jobs/runner.ts';
import { tell, type StartEngine } from './engine-job.ts';
import type { RecordLora, WrittenLora } from './record-lora.ts';

export interface CreateResult {
  /** Of all sets that could be made, in the job's order. */
  readonly loras: readonly LoraWritten[];
  readonly failedSets: number;
  /** What the last engine says of its run; null if there was nothing left for it to do. */
  readonly run: JobResult | null;
}

/**
 * Makes LoRAs of one set or many, in one engine. The journal holds each LoRA as it is written, together with its
 * row in the library; a job that goes on makes the others alone, and those whose files have gone since.
 */
export function createRunner(record?: RecordLora, start: StartEngine = runInEngine): JobRunner<CreateJob, CreateResult> {
  return {
    kind: 'create',
    lane: 'engine',
    inputSchema: createJobSchema,
    run: async (job, context) => {
      const left = job.sets.filter((set) => madeOf(context.journal, set) === undefined);
      const run = left.length === 0 ? null : await runLeft(left, job, context, { record, start });
      const loras = job.sets.flatMap((set) => madeOf(context.journal, set) ?? []);
      return { loras, failedSets: job.sets.length - loras.length, run };
    },
  };
}

interface Means {
  readonly record: RecordLora | undefined;
  readonly start: StartEngine;
}

/** @returns null if others are made already, and none of those left can be */
async function runLeft(left: SetJob[], job: CreateJob, context: JobContext, means: Means): Promise<JobResult | null> {
  try {
    return await runEngine({ ...job, sets: left }, context, means);
  } catch (error) {
    const known = I2lError.from(error);
    if (left.length === job.sets.length || !isOfImages(known, left)) throw error;
    context.log(failureNote(known));
    return null;
  }
}

/** Whether an engine failed because no set that it was given has images to make it of. */
function isOfImages({ code, fields }: I2lError, sets: readonly SetJob[]): boolean {
  if (code === 'IMAGES_REFUSED' || code === 'NO_IMAGES') return true;
  return sets.some(({ images }) => images.some(({ file }) => file === fields['file']));
}

async function runEngine(job: CreateJob, context: JobContext, { record, start }: Means): Promise<JobResult> {
  const stop = new AbortController();
  let broken: I2lError | undefined;
  let noted = Promise.resolve();
  const onEvent = (event: EngineEvent): void => {
    if (event.type !== 'lora') return tell(context, job, event);
    noted = noted
      .then(() => (broken ? undefined : note(event, job, context.journal, record)))
      // A LoRA that can't be noted would be made again and again: the library's trouble is the job's.
      .catch((error: unknown) => {
        broken = I2lError.from(error);
        stop.abort();
      });
  };
  const running = start(job, { signal: AbortSignal.any([context.signal, stop.signal]), onEvent });
  const [outcome] = await Promise.allSettled([running]);
  await noted;
  if (broken) throw broken;
  if (outcome.status === 'rejected') throw outcome.reason;
  return outcome.value;
}

async function note(lora: LoraWritten, job: CreateJob, journal: Journal, record: RecordLora | undefined): Promise<void> {
  const set = job.sets.find(({ output }) => output === lora.output);
  if (!set) throw new I2lError('ENGINE_PROTOCOL', `The engine made ${lora.output}, which it was not asked for.`);
  journal.finish(keyOf(set), lora, await record?.(writtenLora(set)));
}

/** What the library is told of a set's LoRA. */
export function writtenLora({ output, images, library }: SetJob): WrittenLora {
  return { file: output, note: library, images: images.filter(({ weight }) => weight > 0).map(({ file }) => file) };
}

function keyOf({ output }: SetJob): string {
  return `lora ${output}`;
}

/** What the journal says of a set's LoRA, if its file is still there as it was written. */
function madeOf(journal: Journal, set: SetJob): LoraWritten | undefined {
  const lora = loraSchema.safeParse(journal.get(keyOf(set)));
  return lora.success && sizeOf(set.output) === lora.data.bytes ? lora.data : undefined;
}

/** Of a file that can be looked at; one that can't is made again, and the engine says what is in its way. */
function sizeOf(file: string): number | undefined {
  try {
    return statSync(file).size;
  } catch {
    return undefined;
  }
}
