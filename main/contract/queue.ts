import { eventIterator, oc } from '@orpc/contract';
import { z } from 'zod';
import { errorShapeSchema } from './wire-errors.ts';
import { noteFactsSchema } from './wire-notes.ts';

/** Jobs of the queue as others see them: states, progress, events, and the procedures over them. */

export const JOB_STATES = ['waiting', 'running', 'pausing', 'paused', 'cancelling', 'done', 'failed', 'cancelled'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** States that only a user's wish leaves. */
export const ENDED_STATES = ['done', 'failed', 'cancelled'] as const satisfies readonly JobState[];

export function hasEnded(state: JobState): boolean {
  return (ENDED_STATES as readonly JobState[]).includes(state);
}

/** Those of jobs that have not ended. */
export const OPEN_STATES: readonly JobState[] = JOB_STATES.filter((state) => !hasEnded(state));

/** Characters of a job's title. */
export const MOST_TITLE = 500;

/** Jobs of one lane take turns; lanes run beside each other. */
export const LANES = ['engine', 'light', 'download'] as const;
export type Lane = (typeof LANES)[number];

/** Where a running job stands, or where it stood when it last stopped. */
export const progressSchema = z.object({
  /** What it does now, e.g. 'dinov3'; empty before the first step. */
  step: z.string(),
  /** The part of the step, e.g. 'block 12'. */
  stage: z.string(),
  /** 0 to 1, of the whole job; absent where nobody knows. */
  fraction: z.number().min(0).max(1).optional(),
  bytesDone: z.number().optional(),
  bytesTotal: z.number().optional(),
  bytesPerSecond: z.number().optional(),
  etaSeconds: z.number().optional(),
});
export type QueueProgress = z.infer<typeof progressSchema>;

/** Milliseconds since 1970 by the wall clock: to be shown, never to order or subtract. */
const time = z.number();

export const jobId = z.int().positive();
export const priority = z.int().min(-1000).max(1000);

export const jobViewSchema = z.object({
  /** Grows with every job and is never given twice. */
  id: jobId,
  kind: z.string(),
  lane: z.enum(LANES),
  title: z.string(),
  state: z.enum(JOB_STATES),
  /** The highest runs first; 0 unless the user says otherwise. */
  priority,
  /** Among equals of priority the lowest runs first. */
  position: z.int(),
  /** How often it was started. */
  attempts: z.int(),
  progress: progressSchema.nullable(),
  /** What it failed with. */
  error: errorShapeSchema.nullable(),
  createdAt: time,
  startedAt: time.nullable(),
  finishedAt: time.nullable(),
  /** Time that it ran in all, by a clock that only goes forward. */
  runSeconds: z.number(),
});
export type JobView = z.infer<typeof jobViewSchema>;

export const jobDetailsSchema = jobViewSchema.extend({
  /** As its kind's schema parsed it. */
  input: z.unknown(),
  /** Null until it is done. */
  result: z.unknown(),
  /** Keys of the steps that the journal holds, in the order in which they were finished. */
  steps: z.array(z.string()),
});
export type JobDetails = z.infer<typeof jobDetailsSchema>;

export const logLineSchema = z.object({
  at: time,
  /** In English. */
  text: z.string(),
  /** What the text is made of; absent where an older version wrote it. */
  note: noteFactsSchema.optional(),
});
export type LogLine = z.infer<typeof logLineSchema>;

export const queueViewSchema = z.object({
  /** No job is started while it is. */
  paused: z.boolean(),
  /** Why the queue can't write down what happened, and so tries again: disk full, library locked. */
  problem: errorShapeSchema.nullable(),
});
export type QueueView = z.infer<typeof queueViewSchema>;

export const queueEventSchema = z.discriminatedUnion('type', [
  /** First to arrive: all there is. */
  z.object({ type: z.literal('snapshot'), jobs: z.array(jobViewSchema), queue: queueViewSchema }),
  /**
   * What changed since. A job comes once with its latest state; twice if it ended in between and runs again.
   * Apply `jobs` in order, then `removed`.
   */
  z.object({
    type: z.literal('change'),
    jobs: z.array(jobViewSchema),
    removed: z.array(jobId),
    queue: queueViewSchema.optional(),
  }),
]);
export type QueueEvent = z.infer<typeof queueEventSchema>;

const one = z.object({ id: jobId });

export const jobsContract = {
  /** Jobs that have not ended in the order in which they run, then the others, the latest first. */
  list: oc
    .input(
      z.object({
        states: z.array(z.enum(JOB_STATES)).optional(),
        kinds: z.array(z.string()).optional(),
        limit: z.int().min(1).max(1000).default(200),
        offset: z.int().min(0).default(0),
      }),
    )
    .output(z.array(jobViewSchema)),
  get: oc.input(one).output(jobDetailsSchema),
  log: oc.input(one).output(z.array(logLineSchema)),
  /** Stops at the next safe point. */
  pause: oc.input(one).output(jobViewSchema),
  /** Goes on where it stopped, when its turn comes. */
  resume: oc.input(one).output(jobViewSchema),
  cancel: oc.input(one).output(jobViewSchema),
  /** Runs an ended job again, at the end of the queue; a done one always from scratch. */
  retry: oc.input(one.extend({ fromScratch: z.boolean().default(false) })).output(jobViewSchema),
  /** Sends a waiting or paused job to the end of the queue. */
  requeue: oc.input(one).output(jobViewSchema),
  /** Puts a waiting or paused job before another, with that one's priority; null: last of all. */
  reorder: oc.input(one.extend({ before: jobId.nullable() })).output(jobViewSchema),
  setPriority: oc.input(one.extend({ priority })).output(jobViewSchema),
  /** Forgets an ended job, its log and its journal; its files stay. */
  remove: oc.input(one).output(z.object({})),
  clearFinished: oc
    .input(z.object({ states: z.array(z.enum(ENDED_STATES)).default([...ENDED_STATES]) }))
    .output(z.object({ removed: z.array(jobId) })),
  watch: oc.output(eventIterator(queueEventSchema)),
  queue: oc.output(queueViewSchema),
  /** Starts no more jobs. Running ones go on, or with `stopRunning` go back to their place at the next safe point. */
  pauseQueue: oc.input(z.object({ stopRunning: z.boolean().default(false) })).output(queueViewSchema),
  resumeQueue: oc.output(queueViewSchema),
};
