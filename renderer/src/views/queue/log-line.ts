import { isNoteCode } from '../../../../main/contract/notes.ts';
import type { LogLine } from '../../../../main/contract/queue.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import type { Format } from '../../i18n/format.ts';
import { Told } from '../../i18n/told.ts';
import { sentenceOf } from '../../ui/failure.ts';

/** A line of a job's log in the user's language; as the app wrote it where the page doesn't know this note, or not enough of it. */
export function wordsOf({ text, note }: LogLine, { errors, notes }: Pick<Dictionary, 'errors' | 'notes'>, format: Format): string {
  if (!note || !isNoteCode(note.code)) return text;
  const { code, fields, error } = note;
  const told = new Told({ message: text, fields }, format, error && sentenceOf(error, errors, format));
  const words = notes[code](told);
  return told.isWhole ? words : text;
}
