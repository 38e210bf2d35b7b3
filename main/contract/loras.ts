import { eventIterator, oc } from '@orpc/contract';
import { z } from 'zod';
import { EXPERTS } from './experts.ts';
import { FILE_STATES } from './file-state.ts';
import {
  failedFileSchema,
  hashSchema,
  idSchema,
  idsSchema,
  importProgressSchema,
  nameSchema,
  notesSchema,
  ORDERS,
  pageInput,
  pathSchema,
  STORAGES,
  timeSchema,
} from './library-values.ts';

/** LoRAs of the library: made here or brought along. */

const tagSchema = z.string().trim().min(1).max(100);
const wordSchema = z.string().trim().min(1).max(200);
const ratingSchema = z.int().min(0).max(5);

export const loraExpertSchema = z.object({
  /** The model's id in the catalogue; of another model its network's name. */
  expert: z.string(),
  /** What it was taken for; null where neither the file nor the id says so. */
  role: z.enum(EXPERTS).nullable(),
  fingerprint: z.string(),
  strength: z.number(),
});
export type LoraExpert = z.infer<typeof loraExpertSchema>;

const madeFromImageSchema = z.object({ hash: hashSchema, weight: z.number(), caption: z.string() });

/** The image set as it was when a LoRA was made of it; the set itself may change or go. */
export const madeFromSchema = z.object({
  name: z.string().optional(),
  images: z.array(madeFromImageSchema),
});
export type MadeFrom = z.infer<typeof madeFromSchema>;

/** What a LoRA's file is; taken from the file alone. */
export const loraFactsSchema = z.object({
  file: pathSchema,
  bytes: z.int().min(0),
  sha256: hashSchema,
  /** sha256 of the tensor bytes: the same whatever the metadata says. */
  tensorHash: hashSchema,
  /** 'unknown' for another model's. */
  target: z.string(),
  keyForm: z.string(),
  modules: z.int(),
  rank: z.object({ min: z.int(), max: z.int() }),
  dtypes: z.array(z.string()).readonly(),
  metadata: z.record(z.string(), z.string()).readonly(),
});
export type LoraFacts = z.infer<typeof loraFactsSchema>;

export const loraViewSchema = z.object({
  id: idSchema,
  name: z.string(),
  /** Absolute. */
  file: z.string(),
  bytes: z.int(),
  sha256: hashSchema,
  autoV2: z.string(),
  autoV3: z.string(),
  tensorHash: hashSchema,
  target: z.string(),
  rank: z.object({ min: z.int(), max: z.int() }),
  dtype: z.string(),
  keyForm: z.string(),
  modules: z.int(),
  /** What the file says against itself; '' for nothing. */
  warning: z.string(),
  /** Made by models of random weights, as the demo's: it has the right form and no meaning. */
  synthetic: z.boolean(),
  experts: z.array(loraExpertSchema),
  setId: idSchema.nullable(),
  imageCount: z.int(),
  tags: z.array(z.string()),
  rating: ratingSchema,
  favourite: z.boolean(),
  notes: z.string(),
  triggerWords: z.array(z.string()),
  defaultStrength: z.number(),
  /** Equal for versions of one recipe. */
  recipe: z.string(),
  parentId: idSchema.nullable(),
  /** Hash of an image. */
  preview: hashSchema.nullable(),
  madeAt: timeSchema.nullable(),
  addedAt: timeSchema,
  updatedAt: timeSchema,
  /** Whether its file was gone when it was last looked for. */
  missing: z.boolean(),
  trashedAt: timeSchema.nullable(),
});
export type LoraView = z.infer<typeof loraViewSchema>;

export const loraExportSchema = z.object({
  path: z.string(),
  /** E.g. 'comfyui'. */
  kind: z.string(),
  sha256: hashSchema,
  at: timeSchema,
  /** Whether it is still there as it was written. */
  state: z.enum(FILE_STATES),
});
export type LoraExport = z.infer<typeof loraExportSchema>;

export const loraDetailSchema = loraViewSchema.extend({
  /** Of its file, looked at now. */
  state: z.enum(FILE_STATES),
  madeFrom: madeFromSchema
    .extend({
      images: z.array(
        madeFromImageSchema.extend({
          /** Whether the library has the image, and so a picture of it. */
          isKnown: z.boolean(),
        }),
      ),
    })
    .nullable(),
  /** A file with its singular values, if there is one. */
  spectrum: z.string().nullable(),
});
export type LoraDetail = z.infer<typeof loraDetailSchema>;

export const LORA_SORTS = ['name', 'added', 'bytes', 'rank', 'rating', 'relevance'] as const;

export const loraQuerySchema = z.object({
  /** Words to find in names, tags, notes, captions and trigger words; the last may be a beginning. */
  text: z.string().max(1000).default(''),
  target: z.string().max(64).optional(),
  /** An expert, or a model's id. */
  expert: z.string().max(200).optional(),
  /** At least one of them. */
  tagsAny: z.array(tagSchema).max(100).default([]),
  tagsAll: z.array(tagSchema).max(100).default([]),
  rankFrom: z.int().optional(),
  rankTo: z.int().optional(),
  addedFrom: timeSchema.optional(),
  addedTo: timeSchema.optional(),
  favourite: z.boolean().optional(),
  ratingFrom: ratingSchema.optional(),
  missing: z.boolean().optional(),
  synthetic: z.boolean().optional(),
  setId: idSchema.optional(),
  trashed: z.boolean().default(false),
  /** By relevance only where there is a text; by date where not. */
  sort: z.enum(LORA_SORTS).default('added'),
  order: z.enum(ORDERS).default('descending'),
  ...pageInput,
});
export type LoraQuery = z.input<typeof loraQuerySchema>;

export const loraChangeSchema = z.object({
  name: nameSchema.optional(),
  notes: notesSchema.optional(),
  tags: z.array(tagSchema).max(100).optional(),
  triggerWords: z.array(wordSchema).max(100).optional(),
  rating: ratingSchema.optional(),
  favourite: z.boolean().optional(),
  defaultStrength: z.number().min(-100).max(100).optional(),
  preview: hashSchema.nullable().optional(),
});
export type LoraChange = z.infer<typeof loraChangeSchema>;

const bulkChangeSchema = z.object({
  tag: z.array(tagSchema).max(100).default([]),
  untag: z.array(tagSchema).max(100).default([]),
  rating: ratingSchema.optional(),
  favourite: z.boolean().optional(),
});
export type LoraBulkChange = z.input<typeof bulkChangeSchema>;

export const lorasContract = {
  list: oc.input(loraQuerySchema).output(z.object({ total: z.int(), loras: z.array(loraViewSchema) })),
  get: oc.input(z.object({ id: idSchema })).output(loraDetailSchema),
  /** A new name renames the file too, with what lies beside it; one outside of the data folder only with `files` 'all'. */
  update: oc
    .input(z.object({ id: idSchema, change: loraChangeSchema, files: z.enum(['own', 'all']).default('own') }))
    .output(loraViewSchema),
  bulk: oc.input(z.object({ ids: idsSchema, change: bulkChangeSchema })).output(z.object({ changed: z.array(idSchema) })),
  /** Into the trash. Files outside of the data folder stay, unless `files` says otherwise. */
  remove: oc
    .input(z.object({ ids: idsSchema, files: z.enum(['own', 'all']).default('own') }))
    .output(z.object({ removed: z.array(idSchema), failed: z.array(failedFileSchema) })),
  undo: oc.input(z.object({ ids: idsSchema })).output(z.object({ restored: z.array(idSchema), failed: z.array(failedFileSchema) })),
  emptyTrash: oc.input(z.object({})).output(z.object({ removed: z.int(), failed: z.array(failedFileSchema) })),
  import: oc.input(z.object({ files: z.array(pathSchema).min(1).max(10_000), storage: z.enum(STORAGES).default('copied') })).output(
    eventIterator(
      z.discriminatedUnion('type', [
        importProgressSchema,
        z.object({
          type: z.literal('done'),
          added: z.array(idSchema),
          /** Files that the library has already, by their tensors. */
          duplicates: z.array(z.object({ file: z.string(), id: idSchema })),
          failed: z.array(failedFileSchema),
        }),
      ]),
    ),
  ),
  /** Groups of LoRAs with the same tensors. */
  duplicates: oc.input(z.object({})).output(z.object({ groups: z.array(z.array(idSchema)) })),
  /** All of the same recipe, the oldest first. */
  versions: oc.input(z.object({ id: idSchema })).output(z.object({ loras: z.array(loraViewSchema) })),
  /** Shows its file in the system's file manager; only the desktop app can. */
  reveal: oc.input(z.object({ id: idSchema })).output(z.object({})),
  /** Lets the system drag their files, while the pointer is down in the window; only the desktop app can. */
  dragOut: oc.input(z.object({ ids: idsSchema })).output(z.object({})),
  exports: oc.input(z.object({ id: idSchema })).output(z.object({ exports: z.array(loraExportSchema) })),
  tags: oc.input(z.object({})).output(z.object({ tags: z.array(z.object({ tag: z.string(), count: z.int() })) })),
};
