import { isNoteCode, type Note } from '../../../main/contract/notes.ts';
import type { Dictionary } from '../i18n/en/index.ts';
import type { Format } from '../i18n/format.ts';
import { Told } from '../i18n/told.ts';
import { sentenceOf } from './failure.ts';

/** A note in the user's language; as the app wrote it where the page doesn't know this note, or not enough of it. */
export function noteWords(note: Note, { errors, notes }: Pick<Dictionary, 'errors' | 'notes'>, format: Format): string {
  const { code, message, fields, error } = note;
  if (!isNoteCode(code)) return message;
  const told = new Told({ message, fields }, format, error && sentenceOf(error, errors, format));
  const words = notes[code](told);
  return told.isWhole ? words : message;
}
