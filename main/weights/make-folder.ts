import { mkdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { fileError } from '../contract/errors.ts';

/** Makes a folder, and those above it; one that is there is fine. @throws I2lError FILE_WRITE_FAILED, DISK_FULL and the like */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw fileError(folder, 'write', error);
  }
}

/** The same, at once. */
export function makeFolderSync(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw fileError(folder, 'write', error);
  }
}
