import { z } from 'zod';
import { deviceOutcomeSchema } from './devices.ts';
import { jobSchema } from './job.ts';
import { errorShapeSchema } from './wire-errors.ts';
import { noteSchema } from './wire-notes.ts';

/** What the engine's process is asked and what it answers. Both ends parse. */

export const requestSchema = z.discriminatedUnion('type', [
  /** `stays`: the process doesn't end with a job that leaves weights in memory for the next one. */
  z.object({ type: z.literal('run'), job: jobSchema, stays: z.boolean().optional() }),
  z.object({ type: z.literal('cancel') }),
]);
export type EngineRequest = z.infer<typeof requestSchema>;

/** Ends the name of the step that makes a copy of an encoder's weights in 8 bits, behind the encoder's own. */
export const COPY_STEP = ' to 8 bits';

/** Bytes of weights that a step reads while it computes. */
const readingSchema = z.object({
  done: z.number(),
  total: z.number(),
  /** Seconds in which nothing was computed because they had not come; absent where that can't be told from computing. */
  waited: z.number().optional(),
  /** Bytes a second at which they should come; absent where nothing is known against any speed. */
  speed: z.number().optional(),
});
export type StepReading = z.infer<typeof readingSchema>;

const progressSchema = z.object({
  type: z.literal('progress'),
  /** E.g. 'siglip2', 'dinov3', 'style'. */
  step: z.string(),
  stage: z.string(),
  /** Stage k of n, over all networks of the job. */
  stageIndex: z.int(),
  stageCount: z.int(),
  bytesDone: z.number(),
  bytesTotal: z.number(),
  bytesPerSecond: z.number(),
  images: z.int(),
  etaSeconds: z.number(),
  /** Where it computes: 'cpu', 'cuda' … */
  device: z.string(),
  /** What of each step is done, for who knows how fast this machine does it; in seconds that another machine would take. */
  work: z.array(z.object({ step: z.string(), done: z.number(), total: z.number(), reading: readingSchema.optional() })).readonly(),
});

/** A LoRA of several is written. */
export const loraSchema = z.object({
  type: z.literal('lora'),
  output: z.string(),
  bytes: z.number(),
  rank: z.int(),
  modules: z.int(),
  /** sha256 of the tensor bytes. */
  tensorHash: z.string(),
  images: z.int(),
});

/** One set of several can't be made; the others go on. */
const setFailedSchema = z.object({ type: z.literal('set-failed'), output: z.string(), error: errorShapeSchema });

export const resultSchema = z.object({
  type: z.literal('done'),
  /** The file that was written, and its bytes; absent where a job writes none. */
  output: z.string().optional(),
  bytes: z.number().optional(),
  /** Absent where a job has none. */
  images: z.int().optional(),
  /** Of several sets: the LoRAs written, and the sets that could not be made. */
  loras: z.int().optional(),
  failedSets: z.int().optional(),
  /** Embeddings that were taken from the cache. */
  cached: z.int().optional(),
  /** Of a LoRA; absent for embeddings. */
  rank: z.int().optional(),
  modules: z.int().optional(),
  /** sha256 of the tensor bytes. */
  tensorHash: z.string().optional(),
  /** Share of the Frobenius norm that a new rank keeps, of all modules and of the worst. */
  kept: z.number().optional(),
  worstKept: z.number().optional(),
  /** Of two LoRAs: ||dWa - dWb|| / ||dWa|| and the cosine between them; a module of one alone has neither. */
  comparison: z
    .array(
      z.object({
        module: z.string(),
        relativeError: z.number().optional(),
        cosine: z.number().optional(),
        only: z.enum(['a', 'b']).optional(),
      }),
    )
    .optional(),
  check: deviceOutcomeSchema.optional(),
  device: z.string(),
  seconds: z.number(),
  weightBytes: z.number(),
  /** Highest resident memory of the engine's process. */
  peakMemory: z.number(),
  networks: z.array(
    z.object({
      network: z.string(),
      weightBytes: z.number(),
      seconds: z.number(),
      flops: z.number(),
      /** Of them: waiting for weights, making sessions, writing results. Side by side they may be more than `seconds`. */
      waitSeconds: z.number(),
      createSeconds: z.number(),
      sinkSeconds: z.number(),
      /** Groups of stages whose weights an earlier job had left in memory: they were not read again. */
      keptGroups: z.int(),
    }),
  ),
  /** Groups of stages whose weights wait in memory for the next job, and their bytes; absent: the engine ends. */
  resident: z.object({ groups: z.int().positive(), bytes: z.number() }).optional(),
});

const failedSchema = z.object({ type: z.literal('failed'), error: errorShapeSchema });

export const eventSchema = z.discriminatedUnion('type', [
  // Its type comes first, as in the others: a program reads it so from --json.
  z.object({ type: z.literal('note'), ...noteSchema.shape }),
  progressSchema,
  loraSchema,
  setFailedSchema,
  resultSchema,
  failedSchema,
]);
export type EngineEvent = z.infer<typeof eventSchema>;
export type LoraWritten = z.infer<typeof loraSchema>;
export type JobResult = z.infer<typeof resultSchema>;
export type JobProgress = z.infer<typeof progressSchema>;
