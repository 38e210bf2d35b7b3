import { z } from 'zod';
import { engineOptions } from './job.ts';
import { idSchema, nameSchema, pathSchema } from './library-values.ts';
import { TRAINER_IDS } from './trainers.ts';

/** Jobs that put LoRAs of the library where other programs find them. */

const comfyuiExport = {
  loras: z.array(idSchema).min(1),
  /** The only install of the machine if not given. */
  folder: pathSchema.optional(),
  /** The user's own installs, beside those that are found. */
  installs: z.array(pathSchema),
  name: nameSchema.optional(),
  subfolder: z.string().max(500).optional(),
  sidecar: z.boolean(),
  preview: z.boolean(),
};

/** LoRAs as they are, into ComfyUI. */
export const exportJobSchema = z.object({ kind: z.literal('export'), ...comfyuiExport });

/** The same at another rank, which takes an engine. */
export const exportAtRankJobSchema = z.object({
  kind: z.literal('export-at-rank'),
  ...comfyuiExport,
  rank: z.int().positive().max(4096),
  ...engineOptions,
});

export const trainingExportJobSchema = z.object({
  kind: z.literal('export-training'),
  lora: idSchema,
  trainer: z.enum(TRAINER_IDS),
  folder: pathSchema,
  rank: z.int().positive().max(4096).optional(),
  steps: z.int().min(1),
  baseModel: z.string().optional(),
  images: z.boolean(),
  ...engineOptions,
});

export type ExportJob = z.infer<typeof exportJobSchema>;
export type ExportAtRankJob = z.infer<typeof exportAtRankJobSchema>;
export type TrainingExportJob = z.infer<typeof trainingExportJobSchema>;
