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

/** @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, also where the file has become shorter than it was */
export function readInto(buffer: ArrayBufferLike, reads: readonly PlacedRead[]): void {
  const open = new Map<string, number>();
  try {
    for (const read of reads) {
      const fd = open.get(read.file) ?? openFile(read.file);
      open.set(read.file, fd);
      readWhole(fd, buffer, read);
    }
  } finally {
    for (const fd of open.values()) closeSync(fd);
  }
}

function openFile(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

function readWhole(fd: number, buffer: ArrayBufferLike, { file, offset, length, at }: PlacedRead): void {
  const target = new Uint8Array(buffer, at, length);
  for (let done = 0; done < length;) {
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
