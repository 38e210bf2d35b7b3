import {
  broadcast,
  dimsText,
  expectDims,
  IMAGES,
  misfit,
  sameDims,
  scale,
  triple,
  valuesPerImage,
  type Dim,
  type Value,
} from './dims.ts';
import { NodeGraph, STORED } from './node-graph.ts';
import { ELEMENT } from './proto.ts';

/** Shapes and arithmetic, whose results have the sizes that they should have. */
export class ShapeGraph extends NodeGraph {
  add(a: Value, b: Value): Value {
    return this.node('Add', [a, b], broadcast(a, b));
  }

  mul(a: Value, b: Value): Value {
    return this.node('Mul', [a, b], broadcast(a, b));
  }

  /** Only one dimension may follow from the number of images; the others are given. */
  reshape(x: Value, dims: readonly Dim[]): Value {
    if (sameDims(x.dims, dims)) return x;
    if (valuesPerImage(x.dims) !== valuesPerImage(dims) || scale(x.dims) !== scale(dims))
      throw misfit('reshape', x, dimsText(dims));
    const target = this.integers(dims.map((size) => (typeof size === 'number' ? size : -1)));
    return this.node('Reshape', [x, target], dims);
  }

  transpose(x: Value, order: readonly number[]): Value {
    const dims = order.map((axis) => x.dims[axis] ?? 1);
    if (new Set(order).size !== order.length || !x.dims.every((_, axis) => order.includes(axis)))
      throw misfit('transpose', x, `axes ${order.join()}`);
    return this.node('Transpose', [x], dims, { perm: order }, '', x.type);
  }

  concat(parts: readonly Value[], axis: number): Value {
    const [first] = parts;
    if (!first) throw new RangeError('concat of nothing');
    if (parts.length === 1) return first;
    for (const part of parts) expectDims('concat', part, first.dims.with(axis, part.dims.at(axis) ?? 0));
    const along = parts.reduce((sum, part) => sum + Number(part.dims.at(axis)), 0);
    if (Number.isNaN(along)) throw misfit('concat', first, `an axis of fixed size, not ${axis}`);
    return this.node('Concat', parts, first.dims.with(axis, along), { axis });
  }

  /** One row of each image: [n, t, d] -> [n, d]. */
  row(x: Value, index: number): Value {
    const [, rows, width] = triple(x);
    if (index < 0 || index >= rows) throw misfit('row', x, `a row ${index}`);
    return this.node('Gather', [x, this.integers([index], [])], [IMAGES, width], { axis: 1 });
  }

  /** Rows of each image in another order, or some of them: [n, t, ...] -> [n, indices, ...]. */
  rows(x: Value, indices: readonly number[]): Value {
    const rows = Number(x.dims[1]);
    if (!indices.every((index) => index >= 0 && index < rows)) throw misfit('rows', x, 'rows within it');
    return this.node('Gather', [x, this.integers(indices)], x.dims.with(1, indices.length), { axis: 1 });
  }

  /** from .. to along an axis of fixed size. */
  slice(x: Value, axis: number, from: number, to: number): Value {
    const size = x.dims[axis];
    if (typeof size !== 'number' || from < 0 || to > size || from >= to) throw misfit('slice', x, `${from} .. ${to} along ${axis}`);
    if (from === 0 && to === size) return x;
    return this.node('Slice', [x, ...[from, to, axis].map((at) => this.integers([at]))], x.dims.with(axis, to - from));
  }

  /** The same values for every image: [1, ...] -> [n, ...], n taken from `like`. */
  repeat(x: Value, like: Value): Value {
    const rest = x.dims.slice(1).map(Number);
    expectDims('repeat', x, [1, ...rest]);
    const shape = this.node('Shape', [like], [1], { start: 0, end: 1 }, '', ELEMENT.INT64);
    const target = this.node('Concat', [shape, this.integers(rest)], [1 + rest.length], { axis: 0 }, '', ELEMENT.INT64);
    return this.node('Expand', [x, target], [IMAGES, ...rest]);
  }

  /** Rounds to the nearest value of a storage type, and gives its bits; f32 passes unchanged. */
  store(x: Value, dtype: 'F32' | 'F16' | 'BF16'): Value {
    const stored = this.cast(x, STORED[dtype]);
    if (dtype !== 'BF16') return stored;
    return this.node('BitCast', [stored], x.dims, { to: ELEMENT.UINT16 }, '', ELEMENT.UINT16);
  }
}
