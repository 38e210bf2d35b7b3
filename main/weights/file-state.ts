import { stat } from 'node:fs/promises';
import { I2lError, systemCode } from '../contract/errors.ts';
import type { FileState } from '../contract/file-state.ts';
import { contentOf } from './atomic-copy.ts';

/** A file as it was when its content was last known. */
export interface KnownFile {
  readonly path: string;
  readonly bytes: number;
  /** Without it the size says enough: of files that nobody else writes. */
  readonly mtimeMs?: number | undefined;
  /** Of its content, hex. */
  readonly sha256: string;
}

/**
 * Whether a file is still there as it was.
 * @returns for one that is 'present' also its time now: it differs if the same content was written again
 */
export async function fileState({
  path,
  bytes,
  mtimeMs,
  sha256,
}: KnownFile): Promise<{ state: FileState; mtimeMs?: number | undefined }> {
  try {
    const now = await stat(path);
    if (!now.isFile() || now.size !== bytes) return { state: 'changed', mtimeMs };
    // Only one whose time changed is read whole.
    const same = mtimeMs === undefined || now.mtimeMs === mtimeMs || (await contentOf(path)).sha256 === sha256;
    return { state: same ? 'present' : 'changed', mtimeMs: now.mtimeMs };
  } catch (error) {
    const code = error instanceof I2lError ? error.fields['system'] : systemCode(error);
    return { state: code === 'ENOENT' || code === 'ENOTDIR' ? 'missing' : 'unreadable', mtimeMs };
  }
}
