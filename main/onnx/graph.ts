import { rowsOf, type TensorRange } from '../contract/tensor.ts';
import {
  broadcast,
  dimsText,
  expectDims,
  flatten,
  IMAGES,
  misfit,
  pair,
  sameDims,
  scale,
  triple,
  valuesPerImage,
  type Dim,
  type Value,
} from './dims.ts';
import { copyRows, MULTIPLY_BYTES, packedBytes, type EightBitWeight, type EightBitWeights } from './eight-bit.ts';
import { placeOf } from './external-data.ts';
import { CONTRIB, NodeGraph, STORED, type WeightsAs } from './node-graph.ts';
import { plainAttention } from './plain-attention.ts';
import { ELEMENT } from './proto.ts';

export { IMAGES, type Dim, type Value } from './dims.ts';
export type { BuiltGraph, WeightsAs } from './node-graph.ts';

/**
 * One of several graphs that compute a stage together: each has its share of the heads and of a wide layer's values, and
 * their results add up (Shoeybi et al. 2019, Megatron-LM, https://arxiv.org/abs/1909.08053, section 3).
 */
export interface Share {
  readonly index: number;
  readonly of: number;
}

export interface GraphOptions {
  /** One operator for attention, where the device has a right one. */
  readonly fusedAttention: boolean;
  /** Copies of weights that products take in place of the weights themselves. */
  readonly eightBit?: EightBitWeights | undefined;
  /** Values of a weight that are multiplied at a time. */
  readonly pieceValues?: number | undefined;
  /** Absent: mapped. */
  readonly weightsAs?: WeightsAs | undefined;
  /** Absent: the whole of a stage. Of mapped weights there are no shares. */
  readonly share?: Share | undefined;
}

/** 4 MiB in f32: larger pieces leave the cache, smaller ones keep a core or two less busy. */
const PIECE_VALUES = 1 << 20;

/**
 * The small ONNX graphs that the engine runs, layer by layer.
 *
 * Operators: https://onnx.ai/onnx/operators/, and com.microsoft's in
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
export class Graph extends NodeGraph {
  readonly #fusedAttention: boolean;
  readonly #eightBit: EightBitWeights | undefined;
  readonly #pieceValues: number;
  readonly #products = new Map<string, TensorRange>();
  readonly #share: Share;

  constructor(
    { fusedAttention, eightBit, pieceValues = PIECE_VALUES, weightsAs = 'mapped', share = { index: 0, of: 1 } }: GraphOptions = {
      fusedAttention: true,
    },
  ) {
    super(weightsAs);
    this.#share = share;
    this.#pieceValues = pieceValues;
    this.#fusedAttention = fusedAttention;
    this.#eightBit = eightBit;
  }

  /** The weights of its {@link linear} layers. */
  get products(): readonly TensorRange[] {
    return [...this.#products.values()];
  }

  // ---- layers ------------------------------------------------------------------------------------

  /**
   * x W^T + b over the last dimension. Gemm with transB reads the published (out, in) layout as it lies. A weight that
   * has to be cast is multiplied in pieces of its rows: so little is f32 at a time that it stays in the processor's
   * cache, in memory that the last piece gave back, which makes the whole up to twice as fast.
   * @param x [..., in]; @param weight [out, in]; @param bias [out]. @returns [..., out]
   */
  linear(x: Value, weight: TensorRange, bias?: TensorRange): Value {
    const [out, inner] = pair(weight.shape, weight.name);
    if (x.dims.at(-1) !== inner) throw misfit('linear', x, `last dimension ${inner} of ${weight.name}`);
    const rows = flatten(x.dims.slice(0, -1));
    const flat = this.reshape(x, [rows, inner]);
    if (bias && !sameDims(bias.shape, [out])) throw misfit('linear', x, `a bias of ${out} values, not ${bias.name}`);
    const place = placeOf(weight);
    this.#products.set(place, weight);
    const copy = this.#eightBit?.get(place);
    const pieces = this.#rowPieces(weight).map(([first, count]) => {
      const own = bias && rowsOf(bias, first, count);
      if (copy) return this.#bytesProduct(flat, copyRows(copy, first, count), own);
      return this.#product(flat, rowsOf(weight, first, count), own);
    });
    this.countFlops(x, 2 * inner * out);
    return this.reshape(this.concat(pieces, 1), [...x.dims.slice(0, -1), out]);
  }

  // ---- stages in shares --------------------------------------------------------------------------

  /** The own share of a number of heads. */
  ownOf(count: number): number {
    if (count % this.#share.of !== 0) throw new RangeError(`${count} can’t be shared by ${this.#share.of}`);
    return count / this.#share.of;
  }

  /** {@link linear} to the own share of its outputs. @param weight [out, in]; @returns [..., own share of out] */
  spread(x: Value, weight: TensorRange, bias?: TensorRange): Value {
    const rows = this.ownOf(weight.shape[0] ?? 0);
    const own = (range: TensorRange): TensorRange => rowsOf(range, this.#share.index * rows, rows);
    return this.linear(x, own(weight), bias && own(bias));
  }

  /**
   * {@link linear} over the own share of its inputs: all shares' results add up to it, the bias in the first.
   * @param x [..., own share of in]; @param weight [out, in]; @returns [..., out]
   */
  collect(x: Value, weight: TensorRange, bias?: TensorRange): Value {
    const { index, of } = this.#share;
    if (of === 1) return this.linear(x, weight, bias);
    const [out, inner] = pair(weight.shape, weight.name);
    const own = this.ownOf(inner);
    if (x.dims.at(-1) !== own) throw misfit('collect', x, `last dimension ${own}, a share of ${weight.name}`);
    const flat = this.reshape(x, [flatten(x.dims.slice(0, -1)), own]);
    const pieces = runsOf(out, Math.max(1, Math.floor(this.#pieceValues / own))).map(([first, count]) => {
      const rows = rowsOf(weight, first, count);
      return this.#gemm(
        flat,
        this.columns(rows, index * own, own),
        rows,
        index === 0 ? bias && rowsOf(bias, first, count) : undefined,
      );
    });
    this.countFlops(x, 2 * own * out);
    return this.reshape(this.concat(pieces, 1), [...x.dims.slice(0, -1), out]);
  }

  /** x + y of all shares together: x counts in the first. */
  residual(x: Value, y: Value): Value {
    return this.#share.index === 0 ? this.add(x, y) : y;
  }

  /** First row and number of rows of each piece of a weight; one that is multiplied as it lies stays whole. */
  #rowPieces(weight: TensorRange): readonly (readonly [number, number])[] {
    const [out, inner] = pair(weight.shape, weight.name);
    return runsOf(out, weight.dtype === 'F32' ? out : Math.max(1, Math.floor(this.#pieceValues / inner)));
  }

  #product(x: Value, weight: TensorRange, bias: TensorRange | undefined): Value {
    // Where anything is laid out anew, so is every weight that the runtime multiplies by as it lies.
    if (this.#eightBit && weight.dtype === 'F32') this.countPacked(weight.length);
    return this.#gemm(x, this.unscaled(weight), weight, bias);
  }

  /** @param values the weight's, or columns of them */
  #gemm(x: Value, values: Value, weight: TensorRange, bias: TensorRange | undefined): Value {
    const [out] = pair(weight.shape, weight.name);
    const inputs = [x, values, ...(bias ? [this.vector(bias, out)] : [])];
    const scale = weight.scale === undefined ? {} : { alpha: { float: weight.scale } };
    return this.node('Gemm', inputs, x.dims.with(1, out), { transB: 1, ...scale });
  }

  #bytesProduct(x: Value, copy: EightBitWeight, bias: TensorRange | undefined): Value {
    this.countPacked(packedBytes(copy));
    const [out = 0, , block = 1] = copy.values.shape;
    const sizes = { K: Number(x.dims[1]), N: out, bits: 8, block_size: block, accuracy_level: MULTIPLY_BYTES };
    const inputs = [x, this.bytes(copy.values), this.weight(copy.scales)];
    const product = this.node('MatMulNBits', inputs, x.dims.with(1, out), sizes, CONTRIB);
    return bias ? this.add(product, this.vector(bias, out)) : product;
  }

  /** @param x [..., d]. @returns [..., d] */
  layerNorm(x: Value, weight: TensorRange, bias: TensorRange, epsilon: number): Value {
    const width = x.dims.at(-1);
    const inputs = [x, this.vector(weight, width), this.vector(bias, width)];
    return this.node('LayerNormalization', inputs, x.dims, { axis: -1, epsilon: { float: epsilon } });
  }

  /** x / sqrt(mean(x^2) + epsilon) * weight. @param x [..., d]. @returns [..., d] */
  rmsNorm(x: Value, weight: TensorRange, epsilon: number): Value {
    return this.node('RMSNormalization', [x, this.vector(weight, x.dims.at(-1))], x.dims, {
      axis: -1,
      epsilon: { float: epsilon },
    });
  }

  /**
   * softmax(q k^T * scale) v, head by head. n may be images, or windows of images.
   * @param q [n, t, heads * h]; @param k and v [n, s, heads * h]; scale is 1 / sqrt(h). @returns [n, t, heads * h]
   */
  attention(q: Value, k: Value, v: Value, heads: number): Value {
    const [images, queries, width] = triple(q);
    const [, keys] = triple(k);
    if (width % heads !== 0) throw misfit('attention', q, `a width that ${heads} heads divide`);
    for (const part of [k, v]) expectDims('attention', part, [images, keys, width]);
    this.countFlops(q, 0, 4 * valuesPerImage([images]) * queries * keys * width);
    if (!this.#fusedAttention) return plainAttention(this, q, k, v, heads);
    return this.node('MultiHeadAttention', [q, k, v], q.dims, { num_heads: heads }, CONTRIB);
  }

  /** The same, where a query sees the keys up to its own place. */
  causalAttention(q: Value, k: Value, v: Value, heads: number): Value {
    const [images, tokens, width] = triple(q);
    for (const part of [k, v]) expectDims('causal attention', part, q.dims);
    this.countFlops(q, 0, 2 * valuesPerImage([images]) * tokens * tokens * width);
    return plainAttention(this, q, k, v, heads, { causal: true });
  }

  /**
   * Rotary position embedding in the half-split form: each head's first half is paired with its second.
   * @param x [n, t, heads * h]; @param cos and sin [t, h / 2], one angle a position and pair.
   */
  rope(x: Value, cos: Value, sin: Value, heads: number): Value {
    const [, tokens, width] = triple(x);
    if (width % (2 * heads) !== 0) throw misfit('rope', x, `a width that ${heads} heads divide into pairs`);
    for (const table of [cos, sin]) expectDims('rope', table, [tokens, width / heads / 2]);
    const firstPosition = this.integers([0]);
    return this.node('RotaryEmbedding', [x, firstPosition, cos, sin], x.dims, { num_heads: heads }, CONTRIB);
  }

  /** Gaussian error linear unit in its tanh approximation. */
  gelu(x: Value): Value {
    return this.node('Gelu', [x], x.dims, { approximate: 'tanh' });
  }

  /** Gaussian error linear unit by the error function. */
  geluExact(x: Value): Value {
    return this.node('Gelu', [x], x.dims, { approximate: 'none' });
  }

  silu(x: Value): Value {
    return this.mul(x, this.node('Sigmoid', [x], x.dims));
  }

  /** silu(gate) * up, the gated activation of SwiGLU; the products around it are `linear`. */
  swiglu(gate: Value, up: Value): Value {
    return this.mul(this.silu(gate), up);
  }

  /**
   * Non-overlapping patches, each through a linear map (a convolution whose stride is its size).
   * @param pixels [n, c, h, w]; @param weight [d, c, p, p]; @returns [n, h/p * w/p, d], row by row
   */
  patchEmbed(pixels: Value, weight: TensorRange, bias: TensorRange): Value {
    const [, channels, height, width] = pixels.dims as readonly [Dim, number, number, number];
    const [out, inner, patch, across] = weight.shape as readonly [number, number, number, number];
    if (across !== patch || inner !== channels || height % patch !== 0 || width % patch !== 0) {
      throw misfit('patchEmbed', pixels, `${inner} channels and sides that ${patch} divides`);
    }
    const [rows, columns] = [height / patch, width / patch];
    const grid = this.node('Conv', [pixels, this.weight(weight), this.vector(bias, out)], [IMAGES, out, rows, columns], {
      kernel_shape: [patch, patch],
      strides: [patch, patch],
    });
    this.countFlops(grid, 0, 2 * rows * columns * out * channels * patch * patch);
    return this.transpose(this.reshape(grid, [IMAGES, out, rows * columns]), [0, 2, 1]);
  }

  // ---- shapes and arithmetic ---------------------------------------------------------------------

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
    return this.node('Transpose', [x], dims, { perm: order });
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

/** First and length of each run of at most so many of `count`. */
function runsOf(count: number, most: number): readonly (readonly [number, number])[] {
  return Array.from({ length: Math.ceil(count / most) }, (_, i) => [i * most, Math.min(most, count - i * most)] as const);
}
