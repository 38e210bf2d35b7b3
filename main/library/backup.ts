import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import { discard, publishNew } from '../weights/atomic-copy.ts';
import { temporaryPath } from '../weights/write-safetensors.ts';
import { integrityFaults } from './integrity.ts';
import { numberOf } from './migrate.ts';
import { databaseError } from './sqlite-errors.ts';

/** How many backups are kept; the oldest go. */
export const MOST_BACKUPS = 10;

/** Pages between two turns of the event loop: about 4 MB. */
const PAGES_A_TURN = 1000;

export interface Backup {
  readonly path: string;
  /** Counts up, so that a clock that was moved back changes no order. */
  readonly number: number;
}

export function backupFolder(folder: string): string {
  return join(folder, 'backups');
}

/** Backups of a data folder, newest first. @throws I2lError FILE_UNREADABLE */
export async function listBackups(folder: string): Promise<Backup[]> {
  const backups = backupFolder(folder);
  const names = await readdir(backups).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw fileError(backups, 'read', error);
  });
  return names
    .flatMap((name) => {
      const number = /^library-(\d+)-.*\.db$/.exec(name)?.[1];
      return number === undefined ? [] : [{ path: join(backups, name), number: Number(number) }];
    })
    .sort((a, b) => b.number - a.number);
}

/**
 * Copies a live database into the folder's backups, checks the copy, and removes the oldest beyond the limit.
 * Others may read and write meanwhile.
 * @throws I2lError LIBRARY_DAMAGED if the copy is not sound, DISK_FULL, FILE_WRITE_FAILED
 */
export async function makeBackup(database: Sqlite.Database, folder: string, now = new Date()): Promise<Backup> {
  const backups = backupFolder(folder);
  await mkdir(backups, { recursive: true }).catch((error: unknown) => {
    throw fileError(backups, 'write', error);
  });
  const before = await listBackups(folder);
  const number = (before[0]?.number ?? 0) + 1;
  const time = now.toISOString().slice(0, 19).replaceAll(':', '-');
  const name = `library-${String(number).padStart(6, '0')}-${time}-v${numberOf(database, 'user_version')}.db`;
  const target = join(backups, name);
  await copyDatabase(database, target);
  for (const old of before.slice(MOST_BACKUPS - 1)) await rm(old.path, { force: true }).catch(() => undefined);
  return { path: target, number };
}

/** @throws I2lError LIBRARY_DAMAGED, DISK_FULL, FILE_WRITE_FAILED (also if there is such a file) */
export async function copyDatabase(database: Sqlite.Database, target: string): Promise<void> {
  const part = { target, temporary: temporaryPath(target) };
  try {
    await database.backup(part.temporary, { progress: () => PAGES_A_TURN });
    settle(part.temporary);
    const handle = await open(part.temporary, 'r+');
    await handle.sync().finally(() => handle.close());
  } catch (error) {
    await discard(part);
    throw error instanceof Sqlite.SqliteError ? databaseError(target, error) : fileError(target, 'write', error);
  }
  if (!(await publishNew(part))) {
    throw new I2lError('FILE_WRITE_FAILED', `${target}: there is such a file already; choose another name.`, {
      file: target,
      reason: 'in-the-way',
    });
  }
}

/** Makes a copy one file without a log beside it, and proves that it is sound. */
function settle(copy: string): void {
  const database = new Sqlite(copy, { fileMustExist: true });
  try {
    database.pragma('journal_mode = DELETE');
    const [fault] = integrityFaults(database);
    if (fault !== undefined) {
      throw new I2lError('LIBRARY_DAMAGED', `${copy}: the copy of the library is damaged: ${fault}.`, { file: copy, fault });
    }
  } finally {
    database.close();
  }
}
