import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { I2lError } from '../../contract/errors.ts';
import { formatBytes } from '../../contract/format-bytes.ts';

/** Left alone, so that a disk isn't filled to its last byte: for journals, and for what else goes on. */
const RESERVE = 32 * 2 ** 20;

export type FreeSpace = (folder: string) => Promise<number | undefined>;

/** Bytes that may be written below a folder, or its nearest parent that is there; undefined where the system doesn't say. */
export async function freeSpace(folder: string): Promise<number | undefined> {
  const there = await nearestFolder(folder);
  const { bavail, bsize, blocks } = await statfs(there).catch(() => ({ bavail: 0, bsize: 0, blocks: 0 }));
  return blocks > 0 ? bavail * bsize : undefined;
}

/** @throws I2lError DISK_FULL before anything is written */
export async function checkSpace(target: string, needed: number, free: FreeSpace = freeSpace): Promise<void> {
  const bytes = await free(dirname(target));
  if (bytes === undefined || bytes >= needed + RESERVE) return;
  const message = `${target}: ${formatBytes(needed)} are needed, and the disk has ${formatBytes(bytes)} left; free some space or choose another folder.`;
  throw new I2lError('DISK_FULL', message, { file: target, needed, free: bytes });
}

async function nearestFolder(folder: string): Promise<string> {
  for (let path = folder; ; path = dirname(path)) {
    const isThere = await stat(path).then(
      () => true,
      () => false,
    );
    if (isThere || dirname(path) === path) return path;
  }
}
