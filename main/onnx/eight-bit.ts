import { rowsOf, type ByteRange, type TensorRange } from '../contract/tensor.ts';
import type { Dim, Value } from './dims.ts';
import { CONTRIB, type ByteElement } from './node-graph.ts';
import { ELEMENT } from './proto.ts';
import type { ShapeGraph } from './shape-graph.ts';

/**
 * Products of bytes. A row of activations and a row of a weight each become whole numbers from -127 to 127 times a step of
 * their own, so that a product is a sum of whole numbers, which is exact, times both steps. Before that, runs of up to 128
 * values of both are turned by the same orthonormal matrix, which leaves every product as it is and spreads a value that
 * stands out over its run: else that one alone would set the step of its row, and the others would drown in it
 * (Ashkboos et al. 2024, QuaRot, https://arxiv.org/abs/2404.00456; the steps as in LLM.int8(),
 * https://arxiv.org/abs/2208.07339, section 2.1).
 */

/** A weight [out, in] in bytes. */
export interface EightBitWeight {
  /**
   * [tiles, in, out / tiles]: the turned weight's values, transposed tile by tile. The runtime's fastest product takes its
   * second factor so, and a share of the outputs or of the inputs is a run of bytes in each tile.
   */
  readonly values: ByteRange;
  /** -127 to 127 as they are; else 128 stands for 0. */
  readonly isSigned: boolean;
  /** [out], f32: what a value 1 stands for. */
  readonly steps: TensorRange;
}

/** By the place of the weight that they stand for, see {@link placeOf}. */
export type EightBitWeights = ReadonlyMap<string, EightBitWeight>;

const MOST = 127;
const ZERO = 128;
/** Of a row of zeros, so that nothing is divided by 0. */
const LEAST_STEP = 1e-30;
/** A row of fewer values gains nothing. */
const FEWEST_VALUES = 32;
/** The largest turning: twice the size spreads no more than 1.4 times further, at twice the work. */
const LARGEST_TURN = 128;
/** Shares of a weight that are whole tiles, and whole turnings. */
const MOST_SHARES = 8;
/** Values of a tile, which is made at once. */
const TILE_VALUES = 9 << 19;

export function canBeEightBit(inner: number): boolean {
  return inner >= FEWEST_VALUES;
}

/** Whether products of bytes can be computed in so many shares. */
export function canShareBytes(shares: number): boolean {
  return MOST_SHARES % shares === 0;
}

/** Tiles of a weight [out, inner]: as many as it may have shares, more where they would be large. */
export function tileCount(out: number, inner: number): number {
  let tiles = powerOfTwoIn(out, MOST_SHARES);
  while (out % (2 * tiles) === 0 && (out / tiles) * inner > TILE_VALUES) tiles *= 2;
  return tiles;
}

/** Neighbouring values of a row that are turned together; 1: none are. */
export function turnSize(inner: number): number {
  return powerOfTwoIn(inner / powerOfTwoIn(inner, MOST_SHARES), LARGEST_TURN);
}

/** The largest power of two, up to `most`, that divides a number. */
function powerOfTwoIn(number: number, most: number): number {
  return number % 2 === 0 && most > 1 ? 2 * powerOfTwoIn(number / 2, most / 2) : 1;
}

/** A run of a weight's rows and columns, whole tiles of them. */
export interface Part {
  readonly rows: readonly [first: number, count: number];
  readonly columns: readonly [first: number, count: number];
}

/** The tiles of a part of a weight, in the order of its rows. @returns values [columns, n] and steps [n] of each */
export function tilesOf({ values, isSigned, steps }: EightBitWeight, { rows, columns }: Part): readonly EightBitWeight[] {
  const [, inner = 0, width = 0] = values.shape;
  if (rows[0] % width !== 0 || rows[1] % width !== 0)
    throw new RangeError(`${values.name}: rows ${rows.join('+')} are no whole tiles`);
  return Array.from({ length: rows[1] / width }, (_, i) => {
    const first = rows[0] + i * width;
    const tile = { ...rowsOf(values, first / width, 1), shape: [inner, width] };
    return { values: rowsOf(tile, ...columns), isSigned, steps: rowsOf(steps, first, width) };
  });
}

/** Rows in bytes, each in steps of its own. */
export interface ByteRows {
  /** [rows, in]; of u8, 128 is 0. */
  readonly values: Value;
  /** f32, of each row */
  readonly steps: Value;
}

/** Rows as bytes, turned; a row with a value that is not finite has no step. @param x f32 [rows, in]; @param turn see {@link turnSize} */
export function toByteRows(g: ShapeGraph, x: Value, turn: number): ByteRows {
  const { values, steps } = inSteps(g, turnRows(g, x, turn), ELEMENT.UINT8);
  return { values, steps: g.reshape(steps, [x.dims[0] as Dim, 1]) };
}

/** x W^T of rows in bytes and a tile. @param tile values [in, n]; @returns f32 [rows, n], without the rows' steps */
export function byteProduct(g: ShapeGraph, rows: ByteRows, { values, isSigned, steps }: EightBitWeight): Value {
  const [, width = 0] = values.shape;
  const bytes = g.bytes(values, isSigned ? ELEMENT.INT8 : ELEMENT.UINT8);
  const one = g.constant(Float32Array.of(1), []);
  const zeros = isSigned ? [g.byte(ZERO, [], ELEMENT.UINT8)] : [g.byte(ZERO, [], ELEMENT.UINT8), g.byte(ZERO, [], ELEMENT.UINT8)];
  const inputs = [rows.values, bytes, one, g.vector(steps, width), ...zeros];
  return g.node('MatMulIntegerToFloat', inputs, rows.values.dims.with(1, width), {}, CONTRIB);
}

/**
 * Rows of a weight that are a tile, as bytes; of a row with a value that is not finite, the step is none.
 * @param weight f32 [n, in]; @returns values i8 or u8 [in, n], steps f32 [n]
 */
export function toTile(g: ShapeGraph, weight: Value, isSigned: boolean): ByteRows {
  const [, inner] = weight.dims as readonly [number, number];
  const { values, steps } = inSteps(g, turnRows(g, weight, turnSize(inner)), isSigned ? ELEMENT.INT8 : ELEMENT.UINT8);
  return { values: g.transpose(values, [1, 0]), steps };
}

/**
 * Each row in steps of its own: its value of largest magnitude becomes 127 or -127, the others the nearest whole number.
 * @param x f32 [rows, in]; @returns values [rows, in], steps f32 [rows]
 */
function inSteps(g: ShapeGraph, x: Value, type: ByteElement): ByteRows {
  const steps = stepsOf(g, x);
  const shape = g.node('Shape', [steps], [1], {}, '', ELEMENT.INT64);
  const zeros = g.node('Expand', [g.byte(type === ELEMENT.INT8 ? 0 : ZERO, [1], type), shape], steps.dims, {}, '', type);
  return { values: g.node('QuantizeLinear', [x, steps, zeros], x.dims, { axis: 0 }, '', type), steps };
}

/** A step for each row. @param x f32 [rows, in]; @returns f32 [rows] */
function stepsOf(g: ShapeGraph, x: Value): Value {
  const dims = x.dims.slice(0, 1);
  const number = (value: number): Value => g.constant(Float32Array.of(value), [1]);
  const magnitudes = g.node('Abs', [x], x.dims);
  const over = (name: string): Value => g.node(name, [magnitudes, g.integers([1])], dims, { keepdims: 0 });
  const largest = g.node('Max', [over('ReduceMax'), number(LEAST_STEP)], dims);
  // The maximum may pass over a value that is no number; a sum does not, and 0 times it is 0 for all others.
  return g.add(g.mul(largest, number(1 / MOST)), g.mul(over('ReduceSum'), number(0)));
}

/** Each run of so many values of a row times a Hadamard matrix. @param x f32 [rows, in] */
function turnRows(g: ShapeGraph, x: Value, size: number): Value {
  if (size === 1) return x;
  const [rows, inner] = x.dims as readonly [Dim, number];
  const runs = inner / size;
  const count = typeof rows === 'number' ? rows * runs : { perImage: rows.perImage * runs };
  const turned = g.node('MatMul', [g.reshape(x, [count, size]), g.constant(hadamard(size), [size, size])], [count, size]);
  return g.reshape(turned, x.dims);
}

/** Every graph of a network has the same: made anew for each, they would take a tenth of a job's time. */
const matrices = new Map<number, Float32Array>();

/** Sylvester's: symmetric and orthonormal, its own inverse. @param size a power of two. @returns [size, size] */
function hadamard(size: number): Float32Array {
  const matrix = matrices.get(size) ?? makeHadamard(size);
  matrices.set(size, matrix);
  return matrix;
}

function makeHadamard(size: number): Float32Array {
  const one = 1 / Math.sqrt(size);
  const signAt = (row: number, column: number): number => (onesIn(row & column) % 2 === 0 ? one : -one);
  return Float32Array.from({ length: size * size }, (_, at) => signAt(Math.floor(at / size), at % size));
}

function onesIn(bits: number): number {
  return bits === 0 ? 0 : (bits & 1) + onesIn(bits >> 1);
}
