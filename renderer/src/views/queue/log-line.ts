import type { LogLine } from '../../../../main/contract/queue.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import type { Format } from '../../i18n/format.ts';
import { noteWords } from '../../ui/note-words.ts';

/** A line of a job's log in the user's language; as the app wrote it where it is no note: an older version's. */
export function wordsOf({ text, note }: LogLine, dictionary: Pick<Dictionary, 'errors' | 'notes'>, format: Format): string {
  return note ? noteWords({ ...note, message: text }, dictionary, format) : text;
}
