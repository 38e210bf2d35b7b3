import { closeSync, openSync, readSync } from 'node:fs';
import { fileError, I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import { placeOf } from '../onnx/external-data.ts';
import type { GraphWeight } from '../onnx/node-graph.ts';
import { ELEMENT, type ElementType } from '../onnx/proto.ts';

/** Weights that are fed to a graph: where each lies in one buffer, and the reads that bring it there. */
export interface BufferLayout {
  readonly bytes: number;
  /** In the order of the file, so that a disk is read from front to back. */
  readonly reads: readonly PlacedRead[];
}

export interface PlacedRead {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  /** First byte within the buffer. */
  readonly at: number;
}

/** What processors load at once; also a multiple of every value's size, which a file's offsets need not be. */
const ALIGNMENT = 64;
/** Room for so many weights' alignment in a buffer that is made for a plan, which knows bytes alone. */
const MOST_WEIGHTS = 4096;

/** Enough for any graph of so many bytes of weights. */
export function roomFor(weightBytes: number): number {
  return weightBytes + ALIGNMENT * MOST_WEIGHTS;
}

export function layOut(weights: readonly GraphWeight[]): BufferLayout {
  const ranges = [...new Map(weights.map(({ range }) => [placeOf(range), range])).values()].sort((a, b) =>
    a.file === b.file ? a.offset - b.offset : a.file < b.file ? -1 : 1,
  );
  let bytes = 0;
  const reads = ranges.map(({ file, offset, length }) => {
    const at = bytes;
    bytes = Math.ceil((at + length) / ALIGNMENT) * ALIGNMENT;
    return { file, offset, length, at };
  });
  return { bytes, reads };
}

/** The weights as a graph's inputs: views of the buffer, by the inputs' names. */
export function feedsFrom(weights: readonly GraphWeight[], { reads }: BufferLayout, buffer: ArrayBuffer): TensorMap {
  const places = new Map(reads.map((read) => [placeOf(read), read.at]));
  const feeds: Record<string, HostTensor> = {};
  for (const { range, input } of weights) {
    if (!input) throw new I2lError('INTERNAL', `${range.name} is mapped and can't be fed.`);
    feeds[input.name] = { data: viewOf(buffer, places.get(placeOf(range)) ?? 0, range.length, input.type), dims: range.shape };
  }
  return feeds;
}

function viewOf(buffer: ArrayBuffer, at: number, length: number, type: ElementType): HostTensor['data'] {
  if (type === ELEMENT.FLOAT) return new Float32Array(buffer, at, length / 4);
  if (type === ELEMENT.UINT16) return new Uint16Array(buffer, at, length / 2);
  return new Uint8Array(buffer, at, length);
}

/** @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, also where the file has become shorter than it was */
export function readInto(buffer: ArrayBuffer, reads: readonly PlacedRead[]): void {
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

function readWhole(fd: number, buffer: ArrayBuffer, { file, offset, length, at }: PlacedRead): void {
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
