import { createHash, type Hash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { chmod, copyFile, link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import { removeStaleParts } from './stale-files.ts';
import { temporaryPath } from './write-safetensors.ts';

/**
 * A file that is whole and on the disk, under a temporary name beside its target (see temporaryPath). To
 * write several files as one: make all parts, then publish them.
 */
export interface Part {
  readonly target: string;
  readonly temporary: string;
}

/** What a copy has to be. */
export interface Content {
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
}

/**
 * Size and sha256 of a file, read once.
 * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, CANCELLED
 */
export async function contentOf(file: string, signal?: AbortSignal): Promise<Content> {
  const hash = createHash('sha256');
  const size = await hashFile(file, hash, signal);
  return { size, sha256: hash.digest('hex') };
}

/** Reads a file into a hash. @returns its bytes. @throws I2lError as contentOf */
export async function hashFile(file: string, hash: Hash, signal?: AbortSignal): Promise<number> {
  let size = 0;
  try {
    const stream = createReadStream(file, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) });
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      hash.update(chunk);
      size += chunk.length;
    }
  } catch (error) {
    throw asCancelled(signal) ?? fileError(file, 'read', error);
  }
  return size;
}

export type Copy = (source: string, temporary: string) => Promise<void>;

/** Shares the blocks where the file system can (Btrfs, XFS, APFS, ReFS), copies them elsewhere. */
const cloneOrCopy: Copy = (source, temporary) => copyFile(source, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);

/**
 * Copies a file beside `target` and reads the copy back. Nothing is left behind if it fails.
 * @throws I2lError FILE_WRITE_FAILED (also if the copy differs from `expected`), DISK_FULL, CANCELLED
 */
export async function copyToPart(
  source: string,
  target: string,
  expected: Content,
  { copy = cloneOrCopy, signal }: { readonly copy?: Copy; readonly signal?: AbortSignal | undefined } = {},
): Promise<Part> {
  return makePart(target, async (temporary) => {
    const stopped = asCancelled(signal);
    if (stopped) throw stopped;
    await copy(source, temporary);
    const handle = await openWritable(temporary);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    const { size, sha256 } = await contentOf(temporary, signal);
    if (size !== expected.size || sha256 !== expected.sha256) {
      throw new I2lError(
        'FILE_WRITE_FAILED',
        `${target}: the copy differs from ${source}; it changed meanwhile or the disk failed. Try again.`,
        { file: target, source, reason: 'copy-differs' },
      );
    }
  });
}

/** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
export async function writePart(target: string, bytes: Uint8Array | string): Promise<Part> {
  return makePart(target, async (temporary) => {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

/**
 * Gives a part its name, unless there is something of that name by now; it is never replaced.
 * @returns whether it did; if not, the part is gone.
 * @throws I2lError FILE_WRITE_FAILED
 */
export async function publishNew(part: Part): Promise<boolean> {
  try {
    await link(part.temporary, part.target);
  } catch (error) {
    if (systemCode(error) === 'EEXIST' || (await isThere(part.target))) {
      await discard(part);
      return false;
    }
    // exFAT and some network disks know no second name. A file made in this very moment would be lost.
    await publishOver(part);
    return true;
  }
  await discard(part);
  await syncFolder(dirname(part.target));
  return true;
}

/** Gives a part its name, in place of what had it. @throws I2lError FILE_WRITE_FAILED */
export async function publishOver(part: Part): Promise<void> {
  try {
    await rename(part.temporary, part.target);
  } catch (error) {
    await discard(part);
    throw fileError(part.target, 'write', error);
  }
  await syncFolder(dirname(part.target));
}

/** Removes a part. Safe to call twice, and after it was published. */
export async function discard(part: Part): Promise<void> {
  await rm(part.temporary, { force: true }).catch(() => undefined);
}

async function makePart(target: string, fill: (temporary: string) => Promise<void>): Promise<Part> {
  removeStaleParts(target);
  const part = { target, temporary: temporaryPath(target) };
  try {
    await fill(part.temporary);
    return part;
  } catch (error) {
    // Not another writer's: with 'wx' its file would be the failure.
    if (systemCode(error) !== 'EEXIST') await discard(part);
    throw fileError(target, 'write', error);
  }
}

/** A copy of a read-only file is read-only, and Windows flushes only what it may write. */
async function openWritable(file: string): ReturnType<typeof open> {
  try {
    return await open(file, 'r+');
  } catch {
    await chmod(file, 0o644);
    return open(file, 'r+');
  }
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** A new name is durable once its folder is; where a folder can't be flushed (Windows, some network disks) it needs no more. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

function asCancelled(signal: AbortSignal | undefined): I2lError | undefined {
  return signal?.aborted ? new I2lError('CANCELLED', 'Cancelled.') : undefined;
}
