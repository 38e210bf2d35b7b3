import { existsSync } from 'node:fs';
import { copyFile, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import Sqlite from 'better-sqlite3';
import { fileError, I2lError } from '../contract/errors.ts';
import { discard, publishOver } from '../weights/atomic-copy.ts';
import { temporaryPath } from '../weights/write-safetensors.ts';
import { backupFolder } from './backup.ts';
import { DATABASE_NAME } from './database.ts';
import { FolderLock } from './folder-lock.ts';
import { integrityFaults } from './integrity.ts';
import { schemaState } from './migrate.ts';
import { MIGRATIONS } from './migrations/index.ts';
import { databaseError } from './sqlite-errors.ts';

export interface RestoreOptions {
  /** Of this process, for others that want the library meanwhile. */
  readonly name: string;
  /** How long to wait for others, in milliseconds. */
  readonly waitMs?: number | undefined;
}

/**
 * Makes a backup the library. It is checked first, and what was the library is kept beside the backups, damaged or
 * not. Nobody may have the library open; images and LoRAs are not touched.
 * @returns where the old file is now; undefined if there was none
 * @throws I2lError LIBRARY_IN_USE; LIBRARY_DAMAGED, LIBRARY_NEWER of the backup; FILE_NOT_FOUND, FILE_UNREADABLE, DISK_FULL
 */
export async function restoreLibrary(
  folder: string,
  backup: string,
  { name, waitMs = 5000 }: RestoreOptions,
): Promise<string | undefined> {
  const lock = await FolderLock.take(folder, 'alone', name, waitMs);
  const target = join(folder, DATABASE_NAME);
  const part = { target, temporary: temporaryPath(target) };
  try {
    await copyFile(resolve(backup), part.temporary).catch((error: unknown) => {
      throw fileError(backup, 'read', error);
    });
    checkBackup(part.temporary, backup);
    const handle = await open(part.temporary, 'r+');
    await handle.sync().finally(() => handle.close());
    const kept = await keepOld(folder, target);
    await publishOver(part);
    return kept;
  } catch (error) {
    await discard(part);
    throw fileError(target, 'write', error);
  } finally {
    await lock.release();
  }
}

/** @param copy of it, which is made one file without a log beside it. */
function checkBackup(copy: string, backup: string): void {
  let sqlite: Sqlite.Database | undefined;
  try {
    sqlite = new Sqlite(copy, { fileMustExist: true });
    sqlite.pragma('journal_mode = DELETE');
    const { fresh } = schemaState(sqlite, MIGRATIONS.at(-1)?.version ?? 0);
    const fault = fresh ? 'there is nothing in it' : integrityFaults(sqlite)[0];
    if (fault !== undefined) throw new I2lError('LIBRARY_DAMAGED', fault);
  } catch (thrown) {
    const error = databaseError(copy, thrown);
    const why = error.message.replaceAll(`${copy}: `, '').replace(/[.;].*$/s, '');
    throw new I2lError(
      error.code,
      `${backup}: it can't be made the library (${why}); choose another backup.`,
      { file: backup },
      thrown,
    );
  } finally {
    sqlite?.close();
  }
}

/**
 * The old file gets a second name among the backups, and stays what it is until the new one takes its place. Its log
 * goes with it: SQLite would play it into the new file.
 */
async function keepOld(folder: string, target: string): Promise<string | undefined> {
  if (!existsSync(target)) return undefined;
  const backups = backupFolder(folder);
  await mkdir(backups, { recursive: true });
  const taken = (await readdir(backups)).map((name) => Number(/^replaced-(\d+)\.db$/.exec(name)?.[1] ?? 0));
  const kept = join(backups, `replaced-${String(Math.max(0, ...taken) + 1).padStart(6, '0')}.db`);
  await link(target, kept).catch(() => copyFile(target, kept));
  if (existsSync(`${target}-wal`)) await rename(`${target}-wal`, `${kept}-wal`);
  await rm(`${target}-shm`, { force: true });
  return kept;
}
