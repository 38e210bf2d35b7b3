import { createHash, type Hash } from 'node:crypto';
import { hashFile } from '../atomic-copy.ts';
import type { ContentHash } from './repository.ts';

/** Begins the hash that a hub gives of a file of so many bytes: git's id of a file is the hash of a small head and the content. */
export function beginHash(kind: ContentHash['kind'], size: number): Hash {
  return kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Whether a file has the content that a hub says. @throws I2lError FILE_UNREADABLE, CANCELLED */
export async function hasContent(file: string, size: number, { kind, value }: ContentHash, signal?: AbortSignal): Promise<boolean> {
  const hash = beginHash(kind, size);
  const read = await hashFile(file, hash, signal);
  return read === size && hash.digest('hex') === value;
}
