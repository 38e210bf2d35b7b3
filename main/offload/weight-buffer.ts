import { I2lError } from '../contract/errors.ts';
import type { ByteRange, HostTensor, TensorMap } from '../contract/tensor.ts';
import { byPlace, placeOf } from '../onnx/external-data.ts';
import type { GraphWeight } from '../onnx/built-graph.ts';
import { ELEMENT, type ElementType } from '../onnx/proto.ts';
import type { PlacedRead } from './placed-reads.ts';

/** Weights that are fed to a graph: where each lies in one buffer, and the reads that bring it there. */
export interface BufferLayout {
  readonly bytes: number;
  /** In the order of the file, so that a disk is read from front to back. */
  readonly reads: readonly PlacedRead[];
}

/** What processors load at once; also a multiple of every value's size, which a file's offsets need not be. */
const ALIGNMENT = 64;
/** Room for so many weights' alignment in a buffer that is made for a plan, which knows bytes alone. */
const MOST_WEIGHTS = 4096;

/** Enough for any graph of so many bytes of weights. */
export function roomFor(weightBytes: number): number {
  return weightBytes + ALIGNMENT * MOST_WEIGHTS;
}

export function layOut(weights: readonly { readonly range: ByteRange }[]): BufferLayout {
  const ranges = [...new Map(weights.map(({ range }) => [placeOf(range), range])).values()].sort(byPlace);
  let bytes = 0;
  const reads = ranges.map(({ file, offset, length }) => {
    const at = bytes;
    bytes = Math.ceil((at + length) / ALIGNMENT) * ALIGNMENT;
    return { file, offset, length, at };
  });
  return { bytes, reads };
}

/** One of a graph's inputs that are weights, as a view of a buffer. */
export interface FeedView {
  readonly input: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** First byte within the buffer, and how many. */
  readonly at: number;
  readonly length: number;
}

/**
 * Where a graph's weights lie in a buffer that was laid out for them, and perhaps for others'.
 * @throws I2lError INTERNAL for a weight that is mapped, or was not laid out
 */
export function viewsOf(weights: readonly GraphWeight[], { reads }: BufferLayout): readonly FeedView[] {
  const places = new Map(reads.map((read) => [placeOf(read), read.at]));
  return weights.map(({ range, input }) => {
    if (!input) throw new I2lError('INTERNAL', `${range.name} is mapped and can't be fed.`);
    const at = places.get(placeOf(range));
    if (at === undefined) throw new I2lError('INTERNAL', `${range.name} has no place in the buffer that it is fed from.`);
    return { input: input.name, type: input.type, dims: range.shape, at, length: range.length };
  });
}

/** The weights as a graph's inputs, by their names; no byte is copied. */
export function feedsFrom(views: readonly FeedView[], buffer: ArrayBufferLike): TensorMap {
  return Object.fromEntries(views.map((view) => [view.input, { data: valuesOf(view, buffer), dims: view.dims }]));
}

function valuesOf({ type, at, length }: FeedView, buffer: ArrayBufferLike): HostTensor['data'] {
  if (type === ELEMENT.FLOAT) return new Float32Array(buffer, at, length / 4);
  if (type === ELEMENT.UINT16) return new Uint16Array(buffer, at, length / 2);
  if (type === ELEMENT.INT8) return new Int8Array(buffer, at, length);
  return new Uint8Array(buffer, at, length);
}
