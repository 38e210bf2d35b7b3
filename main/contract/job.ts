import { z } from 'zod';
import { DEVICE_CHOICES } from './devices.ts';
import { EXPERTS, EXPERTS_OF, TARGETS, type TargetId } from './experts.ts';
import { idSchema, nameSchema, weightSchema } from './library-values.ts';
import { modelsChoiceSchema } from './models.ts';

/** What an engine can be asked to do. A job that comes from a window or a wire is checked here before anything reads a file. */

export const LORA_DTYPES = ['bf16', 'f16', 'f32'] as const;
export const KEY_FORMS = ['comfyui', 'reference', 'diffusers', 'plain', 'kohya', 'musubi', 'onetrainer'] as const;

const path = z.string().min(1);

export const engineOptions = {
  /** Bytes that the engine's process may reach. */
  memory: z.int().positive(),
  /** Bytes that a stage may take of another device's own memory; absent: as it needs. */
  vram: z.int().positive().optional(),
  device: z.enum(DEVICE_CHOICES),
  /** 0: as many as the machine has cores. */
  threads: z.int().min(0).max(256),
};

const loraOptions = {
  output: path,
  dtype: z.enum(LORA_DTYPES),
  keyForm: z.enum(KEY_FORMS),
};

/** What the library notes with a LoRA that a job of the queue makes; the engine doesn't look at it. */
export const libraryNoteSchema = z.object({
  /** Absent: the file's. */
  name: nameSchema.optional(),
  /** The image set that it is made of. */
  setId: idSchema.optional(),
  /** The LoRA that it is a version of. */
  parentId: idSchema.optional(),
});
export type LibraryNote = z.infer<typeof libraryNoteSchema>;

const library = libraryNoteSchema.optional();

/** One LoRA to be made: from these images, each counting by its share of the weights; 0 leaves it out. */
export const setJobSchema = z.object({
  output: path,
  images: z
    .array(z.object({ file: path, weight: weightSchema }))
    .min(1)
    .refine((images) => images.some(({ weight }) => weight > 0), 'at least one image needs a weight above 0'),
  library,
});
export type SetJob = z.infer<typeof setJobSchema>;

export const expertChoiceSchema = z.object({
  name: z.enum(EXPERTS),
  /** What this expert's part of dW is multiplied by; 0 leaves it out. */
  strength: z.number(),
});
export type ExpertChoice = z.infer<typeof expertChoiceSchema>;

export const embeddingCacheSchema = z.object({
  folder: path,
  /** Bytes; what was used longest ago goes first. */
  limit: z.int().positive(),
});

/** Where copies of encoders' weights in 8 bits are kept: given, encoders on the CPU use them, and make those that are missing. */
export const eightBitSchema = z.object({ folder: path });

/** Many sets cost one pass over the weights. */
export const createJobSchema = z
  .object({
    kind: z.literal('create'),
    sets: z.array(setJobSchema).min(1),
    /** Absent: they are looked for on this machine, before an engine is started. */
    models: modelsChoiceSchema.optional(),
    target: z.enum(TARGETS),
    /** Each at most once; their ranks lie in the order of EXPERTS, whatever the order here. */
    experts: z.array(expertChoiceSchema).min(1),
    /** Leave refused images out instead of stopping. */
    skipBad: z.boolean(),
    /** Keeps embeddings between jobs, so that the same image is not encoded twice. */
    cache: embeddingCacheSchema.optional(),
    eightBit: eightBitSchema.optional(),
    dtype: loraOptions.dtype,
    keyForm: loraOptions.keyForm,
    ...engineOptions,
  })
  .superRefine(({ target, experts }, context) => {
    const fault = expertsFault(target, experts);
    if (fault !== undefined) context.addIssue({ code: 'custom', path: ['experts'], message: fault });
  });

function expertsFault(target: TargetId, experts: readonly ExpertChoice[]): string | undefined {
  const names = experts.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) return `${twice} is named twice`;
  const other = names.find((name) => !EXPERTS_OF[target].includes(name));
  if (other !== undefined) return `there is no ${other} expert for ${target}, only ${EXPERTS_OF[target].join(', ')}`;
  const works = experts.some(({ name, strength }) => name !== 'bias' && strength !== 0);
  return works ? undefined : 'an expert that reads images needs a strength other than 0';
}

export const encodeJobSchema = z.object({
  kind: z.literal('encode'),
  images: z.array(path).min(1),
  models: modelsChoiceSchema.optional(),
  /** For which experts: each reads other embeddings. */
  experts: z.array(z.enum(EXPERTS)).min(1),
  output: path,
  skipBad: z.boolean(),
  eightBit: eightBitSchema.optional(),
  ...engineOptions,
});

export const decodeJobSchema = z.object({
  kind: z.literal('decode'),
  embeddings: path,
  /** Files of experts and of static LoRAs; their ranks lie in this order. */
  experts: z.array(z.object({ file: path, strength: z.number() })).min(1),
  ...loraOptions,
  ...engineOptions,
});

const share = z.number().positive().max(1);
const rank = z.int().positive().max(4096);

export const rankChoiceSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('fixed'), rank }),
  /** The smallest rank that keeps this share of the Frobenius norm. */
  z.object({ kind: z.literal('energy'), share, perModule: z.boolean(), cap: rank.optional() }),
  /** Components of at least 1 / ratio of the module's largest singular value. */
  z.object({ kind: z.literal('ratio'), ratio: z.number().min(1), perModule: z.boolean(), cap: rank.optional() }),
]);
export type RankChoice = z.infer<typeof rankChoiceSchema>;

export const SPLITS = ['b-heavy', 'balanced'] as const;

export const resetRankJobSchema = z.object({
  kind: z.literal('reset-rank'),
  file: path,
  choice: rankChoiceSchema,
  /** Where the singular values go: all into B, or their roots into both. */
  split: z.enum(SPLITS),
  library,
  ...loraOptions,
  ...engineOptions,
});

export const spectrumJobSchema = z.object({
  kind: z.literal('spectrum'),
  file: path,
  /** A safetensors file with each module's singular values in f32. */
  output: path,
  ...engineOptions,
});

export const mergeJobSchema = z.object({
  kind: z.literal('merge'),
  inputs: z.array(z.object({ file: path, strength: z.number() })).min(1),
  library,
  ...loraOptions,
  ...engineOptions,
});

/** Compares two LoRAs module by module; nothing is written. */
export const diffJobSchema = z.object({ kind: z.literal('diff'), a: path, b: path, ...engineOptions });

/** Runs small networks on `device` and on the CPU, and compares. */
export const checkDeviceJobSchema = z.object({ kind: z.literal('check-device'), ...engineOptions });

export const jobSchema = z.discriminatedUnion('kind', [
  createJobSchema,
  encodeJobSchema,
  decodeJobSchema,
  resetRankJobSchema,
  spectrumJobSchema,
  mergeJobSchema,
  diffJobSchema,
  checkDeviceJobSchema,
]);

export type CreateJob = z.infer<typeof createJobSchema>;
export type EncodeJob = z.infer<typeof encodeJobSchema>;
export type DecodeJob = z.infer<typeof decodeJobSchema>;
export type ResetRankJob = z.infer<typeof resetRankJobSchema>;
export type SpectrumJob = z.infer<typeof spectrumJobSchema>;
export type MergeJob = z.infer<typeof mergeJobSchema>;
export type CheckDeviceJob = z.infer<typeof checkDeviceJobSchema>;
export type DiffJob = z.infer<typeof diffJobSchema>;
export type Job = z.infer<typeof jobSchema>;

/** The files that a job writes. */
export function outputsOf(job: Job): readonly string[] {
  if (job.kind === 'create') return job.sets.map(({ output }) => output);
  return 'output' in job ? [job.output] : [];
}
