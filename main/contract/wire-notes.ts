import { z } from 'zod';
import { NOTE_CODES } from './notes.ts';
import { errorShapeSchema, fieldsSchema } from './wire-errors.ts';

/** A {@link Note} on its way between processes. */
export const noteSchema = z.object({
  code: z.enum(NOTE_CODES),
  message: z.string(),
  fields: fieldsSchema,
  error: errorShapeSchema.optional(),
});

/** What a note's sentence is made of, where that lies beside it. */
export const noteFactsSchema = noteSchema.omit({ message: true });
