import { closeSync, openSync, readSync } from 'node:fs';
import { fileError, I2lError } from '../contract/errors.ts';

/** Bytes of a file that are read to a place in a buffer. */
export interface PlacedRead {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  /** First byte within the buffer. */
  readonly at: number;
}

/** Reads that go on where the one before ends, in the file and in the buffer, as one: a weight is laid out in many pieces. */
export function joinedReads(reads: readonly PlacedRead[]): PlacedRead[] {
  const joined: PlacedRead[] = [];
  for (const { file, offset, length, at } of reads) {
    const last = joined.at(-1);
    const goesOn = last?.file === file && last.offset + last.length === offset && last.at + last.length === at;
    if (last && goesOn) joined[joined.length - 1] = { ...last, length: last.length + length };
    else joined.push({ file, offset, length, at });
  }
  return joined;
}

/** @throws as {@link OpenFiles.read} does */
export function readInto(buffer: ArrayBufferLike, reads: readonly PlacedRead[]): void {
  const files = new OpenFiles();
  try {
    for (const { file, offset, length, at } of reads) files.read(file, offset, new Uint8Array(buffer, at, length));
  } finally {
    files.close();
  }
}

/** Files that are read from, each opened once. */
export class OpenFiles {
  readonly #open = new Map<string, number>();

  /** @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, also where the file has become shorter than it was */
  read(file: string, offset: number, target: Uint8Array): void {
    const fd = this.#open.get(file) ?? openFile(file);
    this.#open.set(file, fd);
    readWhole(fd, target, offset, file);
  }

  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}

function openFile(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

function readWhole(fd: number, target: Uint8Array, offset: number, file: string): void {
  for (let done = 0; done < target.length;) {
    const got = readSome(fd, target.subarray(done), offset + done, file);
    if (got === 0) {
      const message = `${file}: it can't be read (it ends at byte ${offset + done}, and was longer when the job began).`;
      throw new I2lError('FILE_UNREADABLE', message, { file });
    }
    done += got;
  }
}

function readSome(fd: number, target: Uint8Array, position: number, file: string): number {
  try {
    return readSync(fd, target, 0, target.length, position);
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}
