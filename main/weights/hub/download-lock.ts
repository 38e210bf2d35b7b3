import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { fileError, I2lError, systemCode } from '../../contract/errors.ts';
import { isAlive, removeStaleParts } from '../stale-files.ts';
import { temporaryPath } from '../write-safetensors.ts';

const SILENT_MS = 10_000;
/** The words in the locks that this process holds: in a container, one that died may have had the same id. */
const ours = new Set<string>();

/**
 * One download of a file at a time, over all processes: a lock file with the holder's process id. The lock of
 * a dead process is taken over; it is moved away first, so that of two who find it only one gets it.
 * @returns what gives it back
 * @throws I2lError DOWNLOAD_BUSY, FILE_WRITE_FAILED, DISK_FULL
 */
export async function lockDownload(target: string): Promise<() => Promise<void>> {
  const file = lockPath(target);
  const mine = `${process.pid} ${randomUUID()}`;
  removeStaleParts(file);
  for (let tries = 0; tries < 5; tries++) {
    try {
      ours.add(mine);
      await writeFile(file, mine, { flag: 'wx' });
      return async () => {
        if ((await holderOf(file)) === mine) await rm(file, { force: true });
        ours.delete(mine);
      };
    } catch (error) {
      ours.delete(mine);
      if (systemCode(error) !== 'EEXIST') throw fileError(file, 'write', error);
    }
    await removeDead(file, target);
  }
  throw busy(target);
}

export function lockPath(target: string): string {
  return `${target}.part.lock`;
}

/** @throws I2lError DOWNLOAD_BUSY if its holder lives */
async function removeDead(file: string, target: string): Promise<void> {
  const holder = await holderOf(file);
  if (holder === undefined) return;
  if (await isHeld(file, holder)) throw busy(target);
  const aside = temporaryPath(file);
  try {
    await rename(file, aside);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw fileError(file, 'write', error);
  }
  // Somebody else took over between the look and the move: it is theirs.
  if ((await holderOf(aside)) === holder) await rm(aside, { force: true });
  else await rename(aside, file).catch(() => undefined);
}

/** One without a word is being written just now, unless it is old. */
async function isHeld(file: string, holder: string): Promise<boolean> {
  const pid = Number.parseInt(holder, 10);
  if (pid > 0) return pid === process.pid ? ours.has(holder) : isAlive(pid);
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 }));
  return Date.now() - mtimeMs < SILENT_MS;
}

async function holderOf(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(() => undefined);
}

function busy(target: string): I2lError {
  return new I2lError('DOWNLOAD_BUSY', `${target}: it is being downloaded already; wait for that, or stop it.`, { file: target });
}
