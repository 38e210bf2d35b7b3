import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import type { EightBitCopyView } from '../contract/models.ts';
import { readSafetensors } from '../weights/safetensors.ts';
import { removeStalePartsIn } from '../weights/stale-files.ts';

/** Key of a copy's metadata: the id of the model that it is of. */
export const COPY_OF = 'i2l.copy-of';

/** Where the copies lie; they may be deleted while no job uses them. @param data the data folder */
export function eightBitFolder(data: string): string {
  return join(data, 'cache', '8-bit');
}

/** All 8-bit copies in a folder. @throws I2lError FILE_UNREADABLE */
export function listEightBitCopies(folder: string): EightBitCopyView[] {
  return filesIn(folder).flatMap((file) => {
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    return size === undefined ? [] : [{ file, of: modelOf(file), bytes: size }];
  });
}

/** @returns null of a damaged copy: it is made anew when it is wanted, and takes its room meanwhile */
function modelOf(file: string): string | null {
  try {
    return readSafetensors(file).metadata[COPY_OF] ?? null;
  } catch (error) {
    if (error instanceof I2lError && (error.code.startsWith('SAFETENSORS') || error.code === 'FILE_NOT_FOUND')) return null;
    throw error;
  }
}

/** Deletes all copies, and what dead jobs left of some; jobs make them again. @returns bytes of the copies. @throws I2lError FILE_WRITE_FAILED */
export function removeEightBitCopies(folder: string): number {
  removeStalePartsIn(folder);
  let bytes = 0;
  for (const copy of listEightBitCopies(folder)) {
    try {
      rmSync(copy.file, { force: true });
    } catch (error) {
      throw fileError(copy.file, 'write', error);
    }
    bytes += copy.bytes;
  }
  return bytes;
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.safetensors'))
      .map((name) => join(folder, name));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw fileError(folder, 'read', error);
  }
}
