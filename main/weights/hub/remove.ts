import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError, I2lError } from '../../contract/errors.ts';
import { lockDownload } from './download-lock.ts';
import { removePart } from './part-file.ts';
import type { DownloadRecord, DownloadRecords } from './records.ts';

export interface Removed {
  readonly path: string;
  readonly bytes: number;
}

/**
 * Removes files that the app downloaded itself, and no others.
 * @throws I2lError FILE_WRITE_FAILED, DOWNLOAD_BUSY; and FILE_WRITE_FAILED for one that was changed since: it is the user's now
 */
export async function removeRecorded(chosen: readonly DownloadRecord[], records: DownloadRecords): Promise<Removed[]> {
  const removed: Removed[] = [];
  for (const { path, size } of chosen) {
    const found = await stat(path).catch(() => undefined);
    if (found && found.size !== size) {
      const message = `${path}: it is not the file any more that this app downloaded, so it is left; remove it by hand.`;
      throw new I2lError('FILE_WRITE_FAILED', message, { file: path, reason: 'changed-since' });
    }
    await removeDownloaded(path, records);
    removed.push({ path, bytes: found?.size ?? 0 });
  }
  return removed;
}

/** A file, what is left of its download, its record, and the folders that are empty then. */
export async function removeDownloaded(path: string, records: DownloadRecords): Promise<void> {
  if (await isThere(dirname(path))) {
    const unlock = await lockDownload(path);
    try {
      await rm(path, { force: true });
      await removePart(path);
    } catch (error) {
      throw fileError(path, 'write', error);
    } finally {
      await unlock();
    }
    await removeEmpty(dirname(path));
  }
  await records.remove(path);
}

/** ORG/REPO and a folder within it are what a download makes at most. */
async function removeEmpty(folder: string, levels = 3): Promise<void> {
  if (levels === 0) return;
  const names = await readdir(folder).catch(() => ['?']);
  if (names.length > 0) return;
  await rmdir(folder).catch(() => undefined);
  await removeEmpty(dirname(folder), levels - 1);
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
