import { elementCount, rowsOf, type ByteRange, type TensorRange } from '../contract/tensor.ts';
import type { Value } from './dims.ts';
import type { NodeGraph } from './node-graph.ts';
import { ELEMENT } from './proto.ts';

/**
 * Weights in 8 bits, as the operator MatMulNBits takes them: each row in blocks, each block with a scale of its own.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
export interface EightBitWeight {
  /** [out, blocks, block], one byte a value; 128 is 0. */
  readonly values: ByteRange;
  /** [out, blocks], f32. */
  readonly scales: TensorRange;
}

/** By the place of the weight that they stand for, see {@link placeOf}. */
export type EightBitWeights = ReadonlyMap<string, EightBitWeight>;

/** The operator's ways to multiply: by bytes, the rows of x made bytes block by block as well. */
export const MULTIPLY_BYTES = 4;

/** The largest byte above the zero: the lowest value, -128, is not used, so that both signs reach equally far. */
const MOST = 127;
const ZERO = 128;
/** Of a block of zeros, so that nothing is divided by 0. */
const LEAST_SCALE = 1e-30;
const LARGEST_BLOCK = 128;
const SMALLEST_BLOCK = 32;

/** Values that share a scale; undefined for rows that are too short for one. */
export function blockOf(inner: number): number | undefined {
  if (inner < SMALLEST_BLOCK) return undefined;
  return Math.min(LARGEST_BLOCK, 2 ** Math.floor(Math.log2(inner)));
}

export function blocksOf(inner: number, block: number): number {
  return Math.ceil(inner / block);
}

/** A run of rows of a copy, see {@link rowsOf}. */
export function copyRows({ values, scales }: EightBitWeight, first: number, count: number): EightBitWeight {
  return { values: rowsOf(values, first, count), scales: rowsOf(scales, first, count) };
}

/** Bytes that the runtime's own layout of a weight takes: the values, the scales, and sums of blocks. */
export function packedBytes({ values, scales }: EightBitWeight): number {
  return elementCount(values.shape) + 2 * scales.length;
}

export interface EightBitParts {
  /** u8 [rows, blocks, block] */
  readonly values: Value;
  /** f32 [rows, blocks] */
  readonly scales: Value;
}

/**
 * A weight in 8 bits: in each block of a row, the value of largest magnitude becomes 127 or -127 and the others the
 * nearest whole steps: at most sqrt(block / 12) / 127 of a block's norm is lost, 2.6 %, and 0.6 % of normally distributed
 * values. The last block of a row is filled up with zeros; of a block with a value that is not finite, the scale is none.
 * @param weight f32 [rows, in]
 */
export function toEightBit(g: NodeGraph, weight: Value, block: number): EightBitParts {
  const [rows, inner] = weight.dims as readonly [number, number];
  const blocks = blocksOf(inner, block);
  const dims = [rows, blocks, block];
  const number = (value: number): Value => g.constant(Float32Array.of(value), [1]);
  const op = (name: string, inputs: readonly Value[], shape = dims): Value => g.node(name, inputs, shape);
  const padding = blocks * block - inner;
  const filled = padding === 0 ? weight : g.node('Pad', [weight, g.integers([0, 0, 0, padding])], [rows, blocks * block]);
  const blocked = g.node('Reshape', [filled, g.integers(dims)], dims);
  const axis = g.integers([2]);
  const column = [rows, blocks, 1];
  const over = (name: string, x: Value): Value => g.node(name, [x, axis], column, { keepdims: 1 });
  const magnitudes = op('Abs', [blocked]);
  const steps = op('Div', [over('ReduceMax', magnitudes), number(MOST)], column);
  // The maximum may pass over a value that is no number; a sum does not, and 0 times it is 0 for all others.
  const poison = op('Mul', [over('ReduceSum', magnitudes), number(0)], column);
  const scales = op('Add', [op('Max', [steps, number(LEAST_SCALE)], column), poison], column);
  const whole = op('Round', [op('Div', [blocked, scales])]);
  return {
    values: g.cast(op('Add', [whole, number(ZERO)]), ELEMENT.UINT8),
    scales: g.node('Reshape', [scales, g.integers([rows, blocks])], [rows, blocks]),
  };
}
