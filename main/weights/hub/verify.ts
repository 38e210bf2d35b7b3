import { createHash } from 'node:crypto';
import { open, realpath, rename, stat, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileError, I2lError } from '../../contract/errors.ts';
import type { VerifiedFile, VerifyProgress } from '../../contract/models.ts';
import { contentOf } from '../atomic-copy.ts';
import { lockDownload } from './download-lock.ts';
import { Journal } from './journal.ts';
import { journalPath, partPath } from './part-file.ts';
import type { DownloadRecord } from './records.ts';

export interface VerifyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/**
 * Reads a downloaded file whole and compares it, block by block, with what came.
 * @throws I2lError FILE_UNREADABLE, CANCELLED
 */
export async function verifyRecord(record: DownloadRecord, options: VerifyOptions = {}): Promise<VerifiedFile> {
  const { path, size, model } = record;
  const found = await stat(path).catch(() => undefined);
  if (!found) return { path, model, state: 'missing', bytes: 0, damagedBlocks: record.blocks.length };
  if (found.size !== size) return { path, model, state: 'damaged', bytes: found.size, damagedBlocks: record.blocks.length };
  const damaged = await damagedBlocks(record, options);
  return { path, model, state: damaged.length === 0 ? 'good' : 'damaged', bytes: size, damagedBlocks: damaged.length };
}

async function damagedBlocks(
  { path, size, blockSize, blocks }: DownloadRecord,
  { signal, onProgress }: VerifyOptions,
): Promise<number[]> {
  const damaged: number[] = [];
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const buffer = Buffer.allocUnsafe(1 << 20);
    for (const [block, expected] of blocks.entries()) {
      if (signal?.aborted) throw new I2lError('CANCELLED', 'Cancelled.');
      const end = Math.min(size, (block + 1) * blockSize);
      if ((await hashOf(handle, buffer, block * blockSize, end)) !== expected) damaged.push(block);
      onProgress?.({ type: 'verify', path, bytes: end, total: size });
    }
  } catch (error) {
    throw fileError(path, 'read', error);
  } finally {
    await handle?.close();
  }
  return damaged;
}

async function hashOf(handle: FileHandle, buffer: Buffer, start: number, end: number): Promise<string> {
  const hash = createHash('sha256');
  for (let at = start; at < end;) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at), at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash.digest('hex');
}

/**
 * A file of somebody else's: the Hugging Face cache names a blob by its sha256, so that it can be checked
 * without asking anybody. Of others there is nothing to compare with, unless a hub's word is given.
 * @param sha256 of the published file, where it is known
 * @throws I2lError FILE_UNREADABLE, CANCELLED
 */
export async function verifyFound(
  path: string,
  model: string,
  { sha256, ...options }: VerifyOptions & { readonly sha256?: string | undefined } = {},
): Promise<VerifiedFile> {
  const named = /^[0-9a-f]{64}$/.exec(basename(await realpath(path).catch(() => path)))?.[0];
  const expected = sha256 ?? named;
  const { size } = await stat(path).catch((error: unknown) => {
    throw fileError(path, 'read', error);
  });
  if (expected === undefined) return { path, model, state: 'unknown', bytes: size, damagedBlocks: 0 };
  const content = await contentOf(path, options.signal);
  options.onProgress?.({ type: 'verify', path, bytes: size, total: size });
  return { path, model, state: content.sha256 === expected ? 'good' : 'damaged', bytes: size, damagedBlocks: 0 };
}

/**
 * Makes a stopped download of a damaged file again, so that the next pull fetches its damaged blocks, and only
 * those.
 * @throws I2lError DOWNLOAD_BUSY, FILE_WRITE_FAILED
 */
export async function prepareRepair({ path, size, blockSize, hash, blocks }: DownloadRecord): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== size) return;
  const unlock = await lockDownload(path);
  try {
    const journal = await Journal.create(journalPath(path), { size, blockSize, hash }, new Map(blocks.entries()));
    await journal.close();
    await rename(path, partPath(path));
  } catch (error) {
    throw fileError(path, 'write', error);
  } finally {
    await unlock();
  }
}
