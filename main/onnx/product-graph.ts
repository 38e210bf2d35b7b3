import { rowsOf, type TensorRange } from '../contract/tensor.ts';
import { flatten, misfit, pair, sameDims, type Value } from './dims.ts';
import {
  byteProduct,
  tilesOf,
  toByteRows,
  turnSize,
  type ByteRows,
  type EightBitWeight,
  type EightBitWeights,
  type Part,
} from './eight-bit.ts';
import { placeOf } from './external-data.ts';
import type { WeightsAs } from './built-graph.ts';
import { runsOf } from './runs.ts';
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

/** Of a linear layer, its weights as they lie in the file. */
interface Layer {
  /** [out, in] */
  readonly weight: TensorRange;
  /** [out] */
  readonly bias: TensorRange | undefined;
}

/** Products with the weights of linear layers, whole or a share of them. */
export class ProductGraph extends ShapeGraph {
  readonly #eightBit: EightBitWeights | undefined;
  readonly #pieceValues: number;
  readonly #products = new Map<string, TensorRange>();
  readonly #byteRows = new Map<string, ByteRows>();
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
    return this.#linear(x, { weight, bias }, wholeOf(weight));
  }

  // ---- stages in shares --------------------------------------------------------------------------

  /** The own share of a number of heads. */
  ownOf(count: number): number {
    if (count % this.#share.of !== 0) throw new RangeError(`${count} can’t be shared by ${this.#share.of}`);
    return count / this.#share.of;
  }

  /** {@link linear} to the own share of its outputs. @param weight [out, in]; @returns [..., own share of out] */
  spread(x: Value, weight: TensorRange, bias?: TensorRange): Value {
    const { rows, columns } = wholeOf(weight);
    return this.#linear(x, { weight, bias }, { rows: this.#ownRun(rows[1]), columns });
  }

  /**
   * {@link linear} over the own share of its inputs: all shares' results add up to it, the bias in the first.
   * @param x [..., own share of in]; @param weight [out, in]; @returns [..., out]
   */
  collect(x: Value, weight: TensorRange, bias?: TensorRange): Value {
    const { rows, columns } = wholeOf(weight);
    const own = this.#share.index === 0 ? bias : undefined;
    return this.#linear(x, { weight, bias: own }, { rows, columns: this.#ownRun(columns[1]) });
  }

  /** x + y of all shares together: x counts in the first. */
  residual(x: Value, y: Value): Value {
    return this.#share.index === 0 ? this.add(x, y) : y;
  }

  #ownRun(count: number): readonly [number, number] {
    const own = this.ownOf(count);
    return [this.#share.index * own, own];
  }

  /** @param x [..., columns of the part]; @returns [..., rows of the part] */
  #linear(x: Value, { weight, bias }: Layer, part: Part): Value {
    const [first, count] = part.rows;
    const inner = part.columns[1];
    if (x.dims.at(-1) !== inner) throw misfit('linear', x, `last dimension ${inner} of ${weight.name}`);
    if (bias && !sameDims(bias.shape, weight.shape.slice(0, 1))) throw misfit('linear', x, `a bias of ${weight.shape[0]} values, not ${bias.name}`); // prettier-ignore
    const place = placeOf(weight);
    this.#products.set(place, weight);
    const layer = { weight, bias: bias && rowsOf(bias, first, count) };
    const copy = this.#eightBit?.get(place);
    const product = copy ? this.#inBytes(x, copy, layer.bias, part) : this.#inPieces(x, layer, part);
    this.countFlops(x, 2 * inner * count);
    return this.reshape(product, [...x.dims.slice(0, -1), count]);
  }

  /** @param bias of the part's rows; @returns [rows of x, rows of the part] */
  #inPieces(x: Value, { weight, bias }: Layer, { rows: [start, total], columns }: Part): Value {
    const flat = flatRows(this, x);
    // One that is multiplied as it lies stays whole.
    const isCast = weight.dtype !== 'F32' || columns[1] !== weight.shape[1];
    const most = isCast ? Math.max(1, Math.floor(this.#pieceValues / columns[1])) : total;
    const pieces = runsOf(total, most).map(({ first, count }) => {
      const rows = rowsOf(weight, start + first, count);
      const values = columns[1] === weight.shape[1] ? this.unscaled(rows) : this.columns(rows, ...columns);
      return this.#gemm(flat, values, { weight: rows, bias: bias && rowsOf(bias, first, count) });
    });
    return this.concat(pieces, 1);
  }

  #gemm(x: Value, values: Value, { weight, bias }: Layer): Value {
    const [out] = pair(weight.shape, weight.name);
    const inputs = [x, values, ...(bias ? [this.vector(bias, out)] : [])];
    const scale = weight.scale === undefined ? {} : { alpha: { float: weight.scale } };
    return this.node('Gemm', inputs, x.dims.with(1, out), { transB: 1, ...scale });
  }

  /** @param bias of the part's rows; @returns [rows of x, rows of the part] */
  #inBytes(x: Value, copy: EightBitWeight, bias: TensorRange | undefined, part: Part): Value {
    const [, inner = 0] = copy.values.shape;
    const rows = this.#rowsInBytes(x, turnSize(inner));
    const tiles = tilesOf(copy, part).map((tile) => byteProduct(this, rows, tile));
    const product = this.mul(this.concat(tiles, 1), rows.steps);
    return bias ? this.add(product, this.vector(bias, part.rows[1])) : product;
  }

  /** Layers that take the same activations share their bytes. */
  #rowsInBytes(x: Value, turn: number): ByteRows {
    const key = `${x.name} by ${turn}`;
    const rows = this.#byteRows.get(key) ?? toByteRows(this, flatRows(this, x), turn);
    this.#byteRows.set(key, rows);
    return rows;
  }
}

/** [..., d] -> [rows, d] */
function flatRows(g: ShapeGraph, x: Value): Value {
  return g.reshape(x, [flatten(x.dims.slice(0, -1)), Number(x.dims.at(-1))]);
}

function wholeOf({ shape, name }: TensorRange): Part {
  const [out, inner] = pair(shape, name);
  return { rows: [0, out], columns: [0, inner] };
}
