import { z } from 'zod';
import { errorShapeSchema } from './wire-errors.ts';

/** Values that image sets and LoRAs share. */

/** A sha256, hex. */
export const hashSchema = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits');

/** Of a row; grows and is never given twice. */
export const idSchema = z.int().positive();

/** Several of them, each once. */
export const idsSchema = z
  .array(idSchema)
  .min(1)
  .max(100_000)
  .transform((ids) => [...new Set(ids)]);

/** Milliseconds since 1970 by the wall clock: to be shown and sorted by, never to subtract. */
export const timeSchema = z.number();

/** A file or folder as a caller names it; the library makes it absolute. */
export const pathSchema = z
  .string()
  .min(1)
  .max(32_768)
  .refine((path) => !path.includes('\0'), 'expected a path without NUL');

/** Characters of a name. */
export const MOST_NAME = 200;
export const nameSchema = z.string().trim().min(1).max(MOST_NAME);
export const notesSchema = z.string().max(100_000);

/** Of files that are taken as images; compared without regard to case. */
export const IMAGE_ENDINGS = ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif', '.heic', '.heif'];

/** Where an image or a LoRA lies: in the data folder, or where it was found. */
export const STORAGES = ['copied', 'referenced'] as const;
export type Storage = (typeof STORAGES)[number];

export const ORDERS = ['ascending', 'descending'] as const;

/** One page of a list. */
export const pageInput = {
  offset: z.int().min(0).max(10_000_000).default(0),
  limit: z.int().min(1).max(500).default(100),
};

/** A file that was left out, and why. */
export const failedFileSchema = z.object({ file: z.string(), error: errorShapeSchema });
export type FailedFile = z.infer<typeof failedFileSchema>;

/** How far a procedure that takes long has come; its stream ends with one of type 'done'. */
export const importProgressSchema = z.object({ type: z.literal('progress'), done: z.int(), total: z.int() });
export type ImportProgress = z.infer<typeof importProgressSchema>;

/** An image counts by its share of all weights: larger ones say no more. */
export const MOST_WEIGHT = 1000;
export const weightSchema = z.number().min(0).max(MOST_WEIGHT);
