import { availableParallelism } from 'node:os';
import { I2lError } from '../contract/errors.ts';
import type { FailedFile, Storage } from '../contract/library-values.ts';
import { readCaption } from './caption-file.ts';
import type { Images, TakenImage } from './images.ts';
import { mapLimited } from './limited.ts';

/** A file with its caption, ready to become a row; or why it can't. */
export interface TakenFile {
  readonly file: string;
  readonly taken?: TakenImage;
  readonly caption: string;
  readonly failed: readonly FailedFile[];
}

export interface ImportOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** More than there are cores to decode with: some wait for the disk. */
const FILES_AT_ONCE = Math.max(4, availableParallelism());

/** Few enough that a killed import loses seconds, and many enough that each write is worth its flush. */
export const FILES_A_WRITE = 32;

/**
 * Reads image files side by side. One that can't be used says so and stops nothing.
 * @throws I2lError CANCELLED
 */
export async function takeFiles(
  images: Images,
  files: readonly string[],
  storage: Storage,
  { signal, onProgress }: ImportOptions,
): Promise<TakenFile[]> {
  let done = 0;
  return mapLimited(files, FILES_AT_ONCE, async (file) => {
    if (signal?.aborted) throw new I2lError('CANCELLED', 'Cancelled; what was imported so far is kept.');
    const result = await take(images, file, storage);
    onProgress?.(++done, files.length);
    return result;
  });
}

async function take(images: Images, file: string, storage: Storage): Promise<TakenFile> {
  const failed: FailedFile[] = [];
  const orFailed = async <T>(work: Promise<T>): Promise<T | undefined> =>
    work.catch((error: unknown) => {
      const known = I2lError.from(error);
      failed.push({ file: String(known.fields['file'] ?? file), error: known.toShape() });
      return undefined;
    });
  const taken = await orFailed(images.take(file, storage));
  const caption = taken && (await orFailed(readCaption(file)));
  return { file, ...(taken ? { taken } : {}), caption: caption ?? '', failed };
}
