import { rowsOf, type TensorRange } from '../contract/tensor.ts';
import { flatten, misfit, pair, sameDims, type Value } from './dims.ts';
import { copyRows, MULTIPLY_BYTES, packedBytes, type EightBitWeight, type EightBitWeights } from './eight-bit.ts';
import { placeOf } from './external-data.ts';
import type { WeightsAs } from './built-graph.ts';
import { CONTRIB } from './node-graph.ts';
import { ShapeGraph } from './shape-graph.ts';

/**
 * One of several graphs that compute a stage together: each has its share of the heads and of a wide layer's values, and
 * their results add up (Shoeybi et al. 2019, Megatron-LM, https://arxiv.org/abs/1909.08053, section 3).
 */
export interface Share {
  readonly index: number;
  readonly of: number;
}

export interface ProductOptions {
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

/** Products with the weights of linear layers, whole or a share of them. */
export class ProductGraph extends ShapeGraph {
  readonly #eightBit: EightBitWeights | undefined;
  readonly #pieceValues: number;
  readonly #products = new Map<string, TensorRange>();
  readonly #share: Share;

  constructor({ eightBit, pieceValues = PIECE_VALUES, weightsAs = 'mapped', share = { index: 0, of: 1 } }: ProductOptions) {
    super(weightsAs);
    this.#share = share;
    this.#pieceValues = pieceValues;
    this.#eightBit = eightBit;
  }

  /** The weights of its {@link linear} layers. */
  get products(): readonly TensorRange[] {
    return [...this.#products.values()];
  }

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
}

/** First and length of each run of at most so many of `count`. */
function runsOf(count: number, most: number): readonly (readonly [number, number])[] {
  return Array.from({ length: Math.ceil(count / most) }, (_, i) => [i * most, Math.min(most, count - i * most)] as const);
}
