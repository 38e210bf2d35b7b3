import { oc } from '@orpc/contract';
import { z } from 'zod';
import { failedFileSchema, idSchema, pathSchema } from './library-values.ts';

/**
 * The library as a whole: how it is, its backups, its trash. A backup is made the library again by `i2l library
 * restore`, while nobody has it open.
 */

export const libraryInfoSchema = z.object({
  folder: z.string(),
  /** The database. */
  file: z.string(),
  /** Of its tables. */
  version: z.int(),
  bytes: z.int(),
  sets: z.int(),
  images: z.int(),
  loras: z.int(),
  /** Sets and LoRAs in the trash. */
  trashed: z.int(),
  /** Newest first. */
  backups: z.array(z.string()),
});
export type LibraryInfo = z.infer<typeof libraryInfoSchema>;

export const libraryCheckSchema = z.object({
  /** What is wrong within the database, one sentence each. */
  faults: z.array(z.string()),
  /** LoRAs whose file is gone. */
  missingLoras: z.array(z.object({ id: idSchema, file: z.string() })),
  /** Images of sets whose file is gone or has changed. */
  missingImages: z.array(z.object({ setId: idSchema, file: z.string() })),
  /** LoRA files in the data folder that are in no row. */
  unlisted: z.array(z.string()),
});
export type LibraryCheck = z.infer<typeof libraryCheckSchema>;

export const libraryContract = {
  info: oc.input(z.object({})).output(libraryInfoSchema),
  check: oc.input(z.object({})).output(libraryCheckSchema),
  /** @param to instead of the data folder's own backups */
  backup: oc.input(z.object({ to: pathSchema.optional() })).output(z.object({ file: z.string() })),
  /** Sets, LoRAs with their files, and copied images that nothing uses any more: gone for good. */
  emptyTrash: oc
    .input(z.object({}))
    .output(z.object({ sets: z.int(), loras: z.int(), images: z.int(), failed: z.array(failedFileSchema) })),
};
