import { eventIterator, oc } from '@orpc/contract';
import { z } from 'zod';
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
  weightSchema,
} from './library-values.ts';

/** Image sets: what a LoRA is made from. */

const targetSchema = z.string().min(1).max(64).nullable();
const captionSchema = z.string().max(20_000);

export const setSummarySchema = z.object({
  id: idSchema,
  name: z.string(),
  notes: z.string(),
  /** E.g. 'qwen-image'; null while it is open. */
  target: targetSchema,
  /** The folder that it mirrors, if any. */
  folder: z.string().nullable(),
  /** For images that are added without a word on it. */
  storage: z.enum(STORAGES),
  imageCount: z.int(),
  /** Hashes of its first images. */
  cover: z.array(hashSchema),
  createdAt: timeSchema,
  updatedAt: timeSchema,
  /** When it was put into the trash; null if it is not there. */
  trashedAt: timeSchema.nullable(),
});
export type SetSummary = z.infer<typeof setSummarySchema>;

export const setImageSchema = z.object({
  hash: hashSchema,
  /** Counts by its share of all weights; 0 leaves it out. */
  weight: weightSchema,
  caption: z.string(),
  storage: z.enum(STORAGES),
  /** The file that it was taken from. */
  source: z.string(),
  /** The file to read it from now: its copy, or its source. */
  file: z.string(),
  bytes: z.int(),
  width: z.int(),
  height: z.int(),
  format: z.string(),
  /** Of `file`; only where files were to be checked. */
  state: z.enum(FILE_STATES).optional(),
});
export type SetImage = z.infer<typeof setImageSchema>;

export const imageSetSchema = setSummarySchema.extend({
  /** In their order. */
  images: z.array(setImageSchema),
});
export type ImageSet = z.infer<typeof imageSetSchema>;

export const SET_SORTS = ['name', 'created', 'updated', 'images'] as const;

export const setQuerySchema = z.object({
  /** Words to find in names, notes and captions; the last may be a beginning. */
  text: z.string().max(1000).default(''),
  target: z.string().max(64).optional(),
  trashed: z.boolean().default(false),
  sort: z.enum(SET_SORTS).default('updated'),
  order: z.enum(ORDERS).default('descending'),
  ...pageInput,
});
export type SetQuery = z.input<typeof setQuerySchema>;

const newSetSchema = z.object({
  name: nameSchema,
  notes: notesSchema.default(''),
  target: targetSchema.default(null),
  storage: z.enum(STORAGES).default('referenced'),
});
export type NewSet = z.input<typeof newSetSchema>;

const setChangeSchema = z.object({
  name: nameSchema.optional(),
  notes: notesSchema.optional(),
  target: targetSchema.optional(),
  storage: z.enum(STORAGES).optional(),
});
export type SetChange = z.infer<typeof setChangeSchema>;

const imageChangeSchema = z.object({ weight: weightSchema.optional(), caption: captionSchema.optional() });
export type ImageChange = z.infer<typeof imageChangeSchema>;

/** What became of the files that were to be added to a set. */
export const addedSchema = z.object({
  setId: idSchema,
  name: z.string(),
  /** Hashes of the images that are new in the set. */
  added: z.array(hashSchema),
  /** Files whose content was in the set already. */
  duplicates: z.array(z.object({ file: z.string(), hash: hashSchema })),
  failed: z.array(failedFileSchema),
});
export type Added = z.infer<typeof addedSchema>;

/** What became of a set when its folder was read again. */
export const rescannedSchema = addedSchema.extend({
  /** Hashes of images whose file is gone from the folder; they are no longer in the set. */
  removed: z.array(hashSchema),
  /** Files with other content than before; place, weight and caption stayed. */
  changed: z.array(z.object({ file: z.string(), from: hashSchema, to: hashSchema })),
  /** Files of the same content under another name. */
  moved: z.array(z.object({ from: z.string(), to: z.string(), hash: hashSchema })),
});
export type Rescanned = z.infer<typeof rescannedSchema>;

export const nearSchema = z.object({
  a: hashSchema,
  b: hashSchema,
  /** Of 64 bits, how many differ; 0 looks the same. */
  distance: z.int().min(0).max(64),
});
export type Near = z.infer<typeof nearSchema>;

/** Most bits that may differ between near-duplicates: different photographs differ in 20 and more. */
export const NEAR_DISTANCE = 10;

const storage = z.enum(STORAGES).optional();
const imagesOfSet = z.object({ id: idSchema, hashes: z.array(hashSchema).max(100_000) });

export const setsContract = {
  list: oc.input(setQuerySchema).output(z.object({ total: z.int(), sets: z.array(setSummarySchema) })),
  /** With `check`, each image's file is looked at. */
  get: oc.input(z.object({ id: idSchema, check: z.boolean().default(false) })).output(imageSetSchema),
  create: oc.input(newSetSchema).output(setSummarySchema),
  update: oc.input(z.object({ id: idSchema, change: setChangeSchema })).output(setSummarySchema),
  /** Another set with the same images, their order, weights and captions; it mirrors no folder. */
  copy: oc.input(z.object({ id: idSchema, name: nameSchema })).output(setSummarySchema),
  /** Into the trash; see undo. */
  remove: oc.input(z.object({ ids: idsSchema })).output(z.object({ removed: z.array(idSchema) })),
  /** Out of the trash. */
  undo: oc.input(z.object({ ids: idsSchema })).output(z.object({ restored: z.array(idSchema) })),
  addImages: oc
    .input(z.object({ id: idSchema, files: z.array(pathSchema).min(1).max(100_000), storage }))
    .output(eventIterator(z.discriminatedUnion('type', [importProgressSchema, addedSchema.extend({ type: z.literal('done') })]))),
  /** A folder is one set that mirrors it; with `each`, each of its sub-folders is one. One that is a set is read again. */
  importFolder: oc.input(z.object({ folder: pathSchema, each: z.boolean().default(false), storage })).output(
    eventIterator(
      z.discriminatedUnion('type', [
        importProgressSchema,
        z.object({
          type: z.literal('done'),
          sets: z.array(rescannedSchema),
          /** Sub-folders that made no set, and why. */
          failed: z.array(failedFileSchema),
        }),
      ]),
    ),
  ),
  rescan: oc
    .input(z.object({ id: idSchema }))
    .output(
      eventIterator(z.discriminatedUnion('type', [importProgressSchema, rescannedSchema.extend({ type: z.literal('done') })])),
    ),
  /** The images named come first, in this order; the others follow as they were. */
  reorder: oc.input(imagesOfSet).output(imageSetSchema),
  setImage: oc.input(z.object({ id: idSchema, hash: hashSchema, change: imageChangeSchema })).output(setImageSchema),
  removeImages: oc.input(imagesOfSet).output(setSummarySchema),
  /** Puts back what was removed since the app was started, as it was and at its place. */
  restoreImages: oc.input(imagesOfSet).output(z.object({ restored: z.array(hashSchema) })),
  /** Pairs of images that look alike, the nearest first. */
  duplicates: oc
    .input(z.object({ id: idSchema, distance: z.int().min(0).max(32).default(NEAR_DISTANCE) }))
    .output(z.object({ near: z.array(nearSchema) })),
};
