import { z } from 'zod';

/** Models: where they are published, where they lie on this machine, how they come here. */

export const HUB_NAMES = ['huggingface', 'modelscope'] as const;
export const hubNameSchema = z.enum(HUB_NAMES);
export type HubName = z.infer<typeof hubNameSchema>;

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
