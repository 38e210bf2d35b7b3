import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileError, systemCode } from '../contract/errors.ts';
import type { EmbeddingName } from '../contract/experts.ts';
import type { CreateJob } from '../contract/job.ts';
import { PREPROCESSING_VERSION } from '../imaging/preprocess.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { removeStalePartsIn } from '../weights/stale-files.ts';
import { float32Bytes, readValues } from '../weights/values.ts';
import { writeSafetensors } from '../weights/write-safetensors.ts';

/** What an embedding depends on. */
export interface EmbeddingKey {
  /** sha256 of the image file. */
  readonly image: string;
  /** The encoder's weights; see weights/content-id.ts. */
  readonly encoder: string;
  /** What it made of the image. */
  readonly embedding: EmbeddingName;
  /** Another device rounds otherwise, and weights in 8 bits more so. */
  readonly device: string;
}

export type CacheOptions = NonNullable<CreateJob['cache']>;

/**
 * Embeddings kept between jobs, one small file each, written whole and checked by a hash when read. Several
 * processes may use it at once; it may be deleted at any time.
 */
export class EmbeddingCache {
  readonly #folder: string;
  readonly #limit: number;

  /** @param limit bytes; what was used longest ago goes first, when {@link trim} is called */
  constructor({ folder, limit }: CacheOptions) {
    this.#folder = folder;
    this.#limit = limit;
  }

  /**
   * @returns undefined if it is not there, or not whole: then it is removed, and has to be made again
   * @throws I2lError FILE_UNREADABLE
   */
  get(key: EmbeddingKey): Float32Array | undefined {
    const file = this.#place(key);
    if (!isFile(file)) return undefined;
    const values = readWhole(file);
    if (values) touch(file);
    else rmSync(file, { force: true });
    return values;
  }

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  put(key: EmbeddingKey, values: Float32Array): void {
    const file = this.#place(key);
    try {
      mkdirSync(dirname(file), { recursive: true });
    } catch (error) {
      throw fileError(dirname(file), 'write', error);
    }
    const bytes = float32Bytes(values);
    writeSafetensors(file, [{ name: TENSOR, dtype: 'F32', shape: [values.length], bytes }], {
      ...key,
      preprocessing: String(PREPROCESSING_VERSION),
      sha256: sha256Of(bytes),
    });
  }

  /** Removes what was used longest ago until the rest fits the limit; files that are none of the cache's stay. @returns files removed */
  trim(): number {
    const files = entriesOf(this.#folder).sort((a, b) => b.usedMs - a.usedMs);
    let bytes = 0;
    let removed = 0;
    for (const { file, size } of files) {
      bytes += size;
      if (bytes <= this.#limit) continue;
      rmSync(file, { force: true });
      removed++;
    }
    return removed;
  }

  #place({ image, encoder, embedding, device }: EmbeddingKey): string {
    const name = sha256Of(Buffer.from(JSON.stringify([image, encoder, embedding, device, PREPROCESSING_VERSION])));
    return join(this.#folder, name.slice(0, 2), `${name}.safetensors`);
  }
}

const TENSOR = 'embedding';

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function isFile(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** A file that can't be understood is worth no more than one that is missing: the embedding is made again. */
function readWhole(file: string): Float32Array | undefined {
  try {
    const checkpoint = Checkpoint.open(file);
    const length = checkpoint.entry(TENSOR)?.shape[0] ?? 0;
    const values = readValues(checkpoint.tensor(TENSOR, [length]));
    return sha256Of(float32Bytes(values)) === checkpoint.files[0]?.metadata['sha256'] ? values : undefined;
  } catch {
    return undefined;
  }
}

/** Its time of change says when it was used last: times of access are switched off on many disks. */
function touch(file: string): void {
  try {
    const now = new Date();
    utimesSync(file, now, now);
  } catch (error) {
    if (!UNTOUCHABLE.includes(systemCode(error) ?? '')) throw fileError(file, 'write', error);
  }
}

/** Gone meanwhile, or a cache that may only be read: then nothing is evicted either. */
const UNTOUCHABLE = ['ENOENT', 'EPERM', 'EACCES', 'EROFS'];

/** Names as {@link EmbeddingCache} gives them: all else in its folder is somebody else's. */
const PART = /^[0-9a-f]{2}$/;
const ENTRY = /^[0-9a-f]{64}\.safetensors$/;

/** What the cache holds; what dead jobs left half-written goes on the way. */
function entriesOf(folder: string): { file: string; size: number; usedMs: number }[] {
  const parts = namesIn(folder).filter((name) => PART.test(name));
  return parts.flatMap((part) => {
    removeStalePartsIn(join(folder, part));
    const names = namesIn(join(folder, part)).filter((name) => ENTRY.test(name));
    return names.flatMap((name) => {
      const file = join(folder, part, name);
      const stat = statSync(file, { throwIfNoEntry: false });
      return stat?.isFile() ? [{ file, size: stat.size, usedMs: stat.mtimeMs }] : [];
    });
  });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return [];
    throw fileError(folder, 'read', error);
  }
}
