import { z } from 'zod';

/** Models: where they are published, where they lie on this machine, how they come here. */

export const HUB_NAMES = ['huggingface', 'modelscope'] as const;
export const hubNameSchema = z.enum(HUB_NAMES);
export type HubName = z.infer<typeof hubNameSchema>;

/** auto: the one that answers quickest; what it can't give comes from the other. */
export const PULL_SOURCES = ['auto', ...HUB_NAMES] as const;
export type PullSource = (typeof PULL_SOURCES)[number];

/** Of one file, a few times a second. */
export const downloadProgressSchema = z.object({
  /** Bytes that are there, of earlier runs as well. */
  bytes: z.number(),
  total: z.number(),
  /** Over the last seconds. */
  bytesPerSecond: z.number(),
  connections: z.int(),
  /** Absent while nothing comes. */
  etaSeconds: z.number().optional(),
});
export type DownloadProgress = z.infer<typeof downloadProgressSchema>;

/** Where a job's models lie: a folder that has them, or each one's file by its catalogue id. */
export const modelsChoiceSchema = z.union([z.string().min(1), z.record(z.string(), z.string().min(1))]);
export type ModelsChoice = z.infer<typeof modelsChoiceSchema>;

/** Whose folder a model was found in. */
export const MODEL_SOURCES = ['named', 'app', 'huggingface', 'modelscope', 'diffsynth', 'comfyui'] as const;
export type ModelSource = (typeof MODEL_SOURCES)[number];

export const foundModelSchema = z.object({
  /** What is opened: a safetensors file, an index, or the first of its shards. */
  path: z.string(),
  /** All of its files. */
  files: z.array(z.string()),
  source: z.enum(MODEL_SOURCES),
  /** Catalogue id; absent for one of other sizes than any published. */
  id: z.string().optional(),
  network: z.string(),
  title: z.string(),
  /** A published layout in BF16; one in values of another type; one of other sizes. */
  variant: z.enum(['published', 'other-dtype', 'other-sizes']),
  dtypes: z.array(z.string()),
  /** Whether the engine computes with values of all its dtypes. */
  isUsable: z.boolean(),
  bytes: z.number(),
  parameters: z.number(),
  fingerprint: z.string(),
  /** Random weights, by its own word. */
  synthetic: z.boolean(),
});
export type FoundModel = z.infer<typeof foundModelSchema>;

/** Of everything that is being downloaded together. */
export const pullProgressSchema = z.object({
  type: z.literal('download'),
  /** Catalogue id. */
  model: z.string(),
  /** Within its repository. */
  file: z.string(),
  hub: hubNameSchema,
  endpoint: z.string(),
  bytes: z.number(),
  total: z.number(),
  fileBytes: z.number(),
  fileTotal: z.number(),
  filesDone: z.int(),
  filesTotal: z.int(),
  bytesPerSecond: z.number(),
  connections: z.int(),
  /** Absent while nothing comes. */
  etaSeconds: z.number().optional(),
});
export type PullProgress = z.infer<typeof pullProgressSchema>;

export const verifyProgressSchema = z.object({ type: z.literal('verify'), path: z.string(), bytes: z.number(), total: z.number() });
export type VerifyProgress = z.infer<typeof verifyProgressSchema>;

export const verifiedFileSchema = z.object({
  path: z.string(),
  model: z.string(),
  /** unknown: nobody says what it has to be. */
  state: z.enum(['good', 'damaged', 'missing', 'unknown']),
  bytes: z.number(),
  /** Of a file that the app downloaded: how much of it would have to come again. */
  damagedBlocks: z.int(),
});
export type VerifiedFile = z.infer<typeof verifiedFileSchema>;

export const licenceSchema = z.object({
  id: z.string(),
  title: z.string(),
  url: z.string(),
  /** Whoever downloads has to agree to it first. */
  mustAccept: z.boolean(),
});

/** A published model, and what of it is on this machine. */
export const modelViewSchema = z.object({
  id: z.string(),
  title: z.string(),
  network: z.string(),
  /** Its repository on each hub. */
  hubs: z.object({ huggingface: z.string(), modelscope: z.string() }),
  licence: licenceSchema,
  /** Experts that need it, as TARGET/EXPERT. */
  neededBy: z.array(z.string()),
  /** Of its tensors, at two bytes a value; absent where it is not known. */
  bytes: z.number().optional(),
  /** partial: a download of it was stopped. */
  state: z.enum(['here', 'partial', 'missing']),
  /** The one that a job takes. */
  found: foundModelSchema.optional(),
  /** By this app, so that it may be removed. */
  isDownloaded: z.boolean(),
  partialBytes: z.number(),
  /** Still to be downloaded; 0 where nobody knows. */
  missingBytes: z.number(),
});
export type ModelView = z.infer<typeof modelViewSchema>;

/** An expert of a target, and how far its models are here. */
export const expertViewSchema = z.object({
  target: z.string(),
  expert: z.string(),
  /** Catalogue ids, the encoders that it shares with others first. */
  models: z.array(z.string()),
  state: z.enum(['ready', 'incomplete', 'missing']),
  /** Of all its models, as far as it is known. */
  bytes: z.number(),
  /** Still to be downloaded for it. */
  missingBytes: z.number(),
});
export type ExpertView = z.infer<typeof expertViewSchema>;

/** A model on this machine that no job takes: of other sizes than published, of values that the engine can't read ... */
export const unusedModelSchema = foundModelSchema.extend({ why: z.enum(['sizes', 'dtype', 'random', 'spare']) });
export type UnusedModel = z.infer<typeof unusedModelSchema>;

/** Where a download would ask, and whether as somebody. The token itself is nobody's business. */
export const hubAccessSchema = z.object({
  hub: hubNameSchema,
  /** Null where the environment gives one that is none. */
  endpoint: z.string().nullable(),
  /** kept: by the system, for this app, which sends it to the hub itself and to no mirror. */
  token: z.enum(['kept', 'environment', 'none']),
});
export type HubAccess = z.infer<typeof hubAccessSchema>;

/** A copy of an encoder's weights in 8 bits. */
export const eightBitCopySchema = z.object({
  file: z.string(),
  /** Id of the model; null of a damaged one. */
  of: z.string().nullable(),
  bytes: z.number(),
});
export type EightBitCopyView = z.infer<typeof eightBitCopySchema>;
