import Sqlite from 'better-sqlite3';
import { I2lError } from '../contract/errors.ts';

/**
 * What SQLite throws, as one of ours: the sentence names the file and says what to do.
 * https://www.sqlite.org/rescode.html
 * @param file the database that was open
 */
export function databaseError(file: string, thrown: unknown): I2lError {
  if (thrown instanceof I2lError) return thrown;
  if (!(thrown instanceof Sqlite.SqliteError)) return I2lError.from(thrown);
  const [code, sentence] = explain(thrown.code);
  return new I2lError(code, `${file}: ${sentence ?? thrown.message}.`, { file, sqlite: thrown.code }, thrown);
}

export function isBusy(thrown: unknown): boolean {
  return thrown instanceof Sqlite.SqliteError && /^SQLITE_(BUSY|LOCKED)/.test(thrown.code);
}

const DAMAGED = "it is damaged; see what can be saved with 'i2l library check', or go back to a backup with 'i2l library restore'";
const FULL = 'the disk is full; free some space and try again';

type Explanation = readonly [I2lError['code'], sentence?: string];

/** By the result code without its extension, but for the extensions that say what the code hides. */
function explain(code: string): Explanation {
  // The shared memory of a WAL and temporary files can't grow: that is a full disk too.
  if (/^SQLITE_(FULL|IOERR_SHMSIZE)/.test(code)) return ['DISK_FULL', FULL];
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return ['LIBRARY_DAMAGED', DAMAGED];
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return ['LIBRARY_BUSY', 'another process keeps writing to it; try again in a moment'];
  if (/^SQLITE_(READONLY|PERM|AUTH)/.test(code)) {
    return ['FILE_WRITE_FAILED', "it can't be written; check the permissions of the file and of its folder"];
  }
  if (/^SQLITE_CANTOPEN/.test(code)) {
    return ['FILE_WRITE_FAILED', "it can't be opened or made; check the permissions of the file and of its folder"];
  }
  if (/^SQLITE_IOERR/.test(code)) return ['FILE_UNREADABLE', `the disk failed while it was read or written (${code})`];
  return ['INTERNAL'];
}
