import { note, type Note } from '../../main/contract/notes.ts';

/** For tests that look at where a note goes, and not at what it says. */
export function someNote(message: string): Note {
  return note('WEIGHTS_KEPT', message, { bytes: 1 });
}
