import { elementCount } from '../contract/tensor.ts';
import { ELEMENT, type ElementType } from './proto.ts';

/** Shapes within a graph, where sizes may follow the number of images. */

/** A size known when the graph is built, or a multiple of the number of images in a run. */
export type Dim = number | { readonly perImage: number };

/** One for each image of a run: the leading dimension of every activation. */
export const IMAGES: Dim = { perImage: 1 };

/** The result of a node, an input or a weight. Its shape is followed, so that a misfit fails at build time. */
export interface Value {
  readonly name: string;
  readonly dims: readonly Dim[];
  readonly type: ElementType;
}

const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = {
  [ELEMENT.FLOAT]: 4,
  [ELEMENT.UINT8]: 1,
  [ELEMENT.INT8]: 1,
  [ELEMENT.UINT16]: 2,
  [ELEMENT.INT32]: 4,
  [ELEMENT.INT64]: 8,
  [ELEMENT.FLOAT16]: 2,
  [ELEMENT.DOUBLE]: 8,
  [ELEMENT.BFLOAT16]: 2,
  [ELEMENT.FLOAT8E4M3FN]: 1,
};

/** Values of one image; of the whole tensor where no dimension follows the number of images. */
export function valuesPerImage(dims: readonly Dim[]): number {
  return elementCount(dims.map((size) => (typeof size === 'number' ? size : size.perImage)));
}

export function bytesOf({ dims, type }: Value): number {
  return valuesPerImage(dims) * ELEMENT_BYTES[type];
}

/** Whether a size grows with the number of images or not. */
export function scale(dims: readonly Dim[]): 'fixed' | 'perImage' {
  return dims.every((size) => typeof size === 'number') ? 'fixed' : 'perImage';
}

export function flatten(dims: readonly Dim[]): Dim {
  const rows = valuesPerImage(dims);
  return scale(dims) === 'fixed' ? rows : { perImage: rows };
}

export function sameDim(a: Dim | undefined, b: Dim | undefined): boolean {
  return a === b || (typeof a === 'object' && typeof b === 'object' && a.perImage === b.perImage);
}

export function sameDims(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((size, i) => sameDim(size, b[i]));
}

/** @throws RangeError */
export function expectDims(what: string, x: Value, dims: readonly (Dim | undefined)[]): void {
  const fits = x.dims.length === dims.length && x.dims.every((size, i) => sameDim(size, dims[i]));
  if (!fits) throw misfit(what, x, dimsText(dims.map((size) => size ?? 0)));
}

export function dimsText(dims: readonly Dim[]): string {
  return dims.map((size) => (typeof size === 'number' ? size : `${size.perImage}n`)).join('x');
}

export function broadcast(a: Value, b: Value): readonly Dim[] {
  const length = Math.max(a.dims.length, b.dims.length);
  const at = (dims: readonly Dim[], i: number): Dim => dims[dims.length - length + i] ?? 1;
  return Array.from({ length }, (_, i) => {
    const [left, right] = [at(a.dims, i), at(b.dims, i)];
    if (sameDim(left, right) || right === 1) return left;
    if (left === 1) return right;
    throw misfit('broadcast', a, dimsText(b.dims));
  });
}

export function pair(shape: readonly number[], name: string): readonly [number, number] {
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows === undefined || columns === undefined) throw new RangeError(`${name} is not a matrix`);
  return [rows, columns];
}

export function triple(x: Value): readonly [Dim, number, number] {
  if (x.dims.length !== 3) throw misfit('shape', x, 'three dimensions');
  return x.dims as readonly [Dim, number, number];
}

export function misfit(what: string, x: Value, expected: string): RangeError {
  return new RangeError(`${what}: expected ${expected}, got ${dimsText(x.dims)} (${x.name})`);
}
