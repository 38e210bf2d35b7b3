/**
 * The long products of LoRA algebra as stages over the LoRA file itself, so that a factor of any length
 * goes through the same mapped weights as a network's. In double precision.
 */
import { rowsOf } from '../contract/tensor.ts';
import type { LoraModule } from '../lora/read-lora.ts';
import { factorName, type StoredDtype } from '../lora/write-lora.ts';
import type { Graph, Value } from '../onnx/graph.ts';
import { ELEMENT } from '../onnx/proto.ts';
import type { Stage, StageResult } from '../offload/stage.ts';
import { mulberry32 } from '../weights/synthetic.ts';

export const gramName = (module: string, factor: 'A' | 'B'): string => `${module}.gram.${factor}`;

/** Emits A A^T and B^T B of each module, [rank, rank] in double precision. One stage a module. */
export function gramStages(modules: readonly LoraModule[]): readonly Stage[] {
  return modules.map((module) => ({
    id: `${module.path} gram`,
    takes: [],
    build: (g) => {
      const a = asDouble(g, g.weight(module.a));
      const b = asDouble(g, columnsOf(g, module));
      const square = [module.rank, module.rank];
      return {
        emit: {
          [gramName(module.path, 'A')]: gemm(g, a, a, square, { transB: 1 }),
          [gramName(module.path, 'B')]: gemm(g, b, b, square, { transA: 1 }),
        },
      };
    },
  }));
}

/** A module with the small matrices that make its new factors: right [kept, rank] @ A and B @ left [rank, kept]. */
export interface Recombined {
  readonly module: LoraModule;
  /** Components that are kept. */
  readonly kept: number;
  /** Of the new factors; above `kept`, the rest is room to learn. */
  readonly rank: number;
  readonly right: Float64Array;
  readonly left: Float64Array;
}

/**
 * Emits each module's new factors in the type that a file stores. The sign of a component is free; here
 * the entry of largest magnitude in its row of A is positive, so equal LoRAs give equal files. Ranks above
 * the kept ones get a row of A as a new LoRA's has it and a column of zeros in B: dW is unchanged, and the
 * row can still learn (with zeros in both it could not).
 */
export function recombineStages(modules: readonly Recombined[], dtype: StoredDtype): readonly Stage[] {
  return modules.map((recombined) => ({
    id: `${recombined.module.path} factors`,
    takes: [],
    build: (g) => {
      const { module, kept, rank } = recombined;
      const [a, b] = kept > 0 ? newFactors(g, recombined) : [undefined, undefined];
      const rows = joined(g, a, rank > kept ? startingRows(g, module, rank - kept) : undefined, 0);
      const columns = joined(g, b, rank > kept ? zeros(g, [module.out, rank - kept]) : undefined, 1);
      return emitted(g, module, rows, columns, dtype);
    },
  }));
}

/** Emits the first rows of A and columns of B as they are. */
export function cutStages(modules: readonly LoraModule[], rank: number, dtype: StoredDtype): readonly Stage[] {
  return modules.map((module) => ({
    id: `${module.path} cut`,
    takes: [],
    build: (g) => {
      const columns = columnsOf(g, module, rank);
      return emitted(g, module, g.weight(rowsOf(module.a, 0, rank)), columns, dtype);
    },
  }));
}

/** B, [out, rank], or the first columns of it. */
function columnsOf(g: Graph, { b, firstColumn, rank }: LoraModule, count = rank): Value {
  return g.slice(g.weight(b), 1, firstColumn, firstColumn + count);
}

function emitted(g: Graph, { path }: LoraModule, a: Value, b: Value, dtype: StoredDtype): StageResult {
  return { emit: { [factorName(path, 'A')]: g.store(a, dtype), [factorName(path, 'B')]: g.store(b, dtype) } };
}

function newFactors(g: Graph, { module, kept, right, left }: Recombined): [Value, Value] {
  const a = gemm(g, g.doubles(right, [kept, module.rank]), asDouble(g, g.weight(module.a)), [kept, module.in]);
  const b = gemm(g, asDouble(g, columnsOf(g, module)), g.doubles(left, [module.rank, kept]), [module.out, kept]);
  const signs = signsOf(g, a, kept);
  const row = g.node('Transpose', [signs], [1, kept], { perm: [1, 0] }, '', ELEMENT.DOUBLE);
  return [multiply(g, a, signs), multiply(g, b, row)];
}

/** torch's start of a LoRA's A: kaiming_uniform with a = sqrt(5), which is uniform in +- 1 / sqrt(in). */
function startingRows(g: Graph, { in: inner, path }: LoraModule, rows: number): Value {
  const next = mulberry32(seedOf(path));
  const bound = 1 / Math.sqrt(inner);
  return g.cast(
    g.constant(
      Float32Array.from({ length: rows * inner }, () => bound * (2 * next() - 1)),
      [rows, inner],
    ),
    ELEMENT.DOUBLE,
  );
}

function zeros(g: Graph, dims: readonly number[]): Value {
  return g.node('Expand', [g.doubles(Float64Array.of(0), [1, 1]), g.integers(dims)], dims, {}, '', ELEMENT.DOUBLE);
}

function joined(g: Graph, first: Value | undefined, second: Value | undefined, axis: number): Value {
  const parts = [first, second].filter((part) => part !== undefined);
  const [only] = parts;
  if (only === undefined) throw new RangeError('a factor without ranks');
  if (parts.length === 1) return only;
  const along = parts.reduce((sum, part) => sum + Number(part.dims[axis]), 0);
  return g.node('Concat', parts, only.dims.with(axis, along), { axis }, '', ELEMENT.DOUBLE);
}

/** FNV-1a: a start of its own for each module, the same every time. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** [rank, 1] of 1 and -1: that of each row's entry of largest magnitude; 1 for a tie. */
function signsOf(g: Graph, a: Value, rank: number): Value {
  const column = [rank, 1];
  const axis = g.integers([1]);
  const highest = g.node('ReduceMax', [a, axis], column, { keepdims: 1 }, '', ELEMENT.DOUBLE);
  const lowest = g.node('ReduceMin', [a, axis], column, { keepdims: 1 }, '', ELEMENT.DOUBLE);
  const sum = g.node('Add', [highest, lowest], column, {}, '', ELEMENT.DOUBLE);
  const half = g.doubles(Float64Array.of(0.5), [1, 1]);
  const sign = g.node('Sign', [sum], column, {}, '', ELEMENT.DOUBLE);
  return g.node('Sign', [g.node('Add', [sign, half], column, {}, '', ELEMENT.DOUBLE)], column, {}, '', ELEMENT.DOUBLE);
}

function asDouble(g: Graph, x: Value): Value {
  return g.cast(x, ELEMENT.DOUBLE);
}

function multiply(g: Graph, x: Value, by: Value): Value {
  return g.node('Mul', [x, by], x.dims, {}, '', ELEMENT.DOUBLE);
}

function gemm(g: Graph, a: Value, b: Value, dims: readonly number[], attributes: Record<string, number> = {}): Value {
  return g.node('Gemm', [a, b], dims, attributes, '', ELEMENT.DOUBLE);
}

/** One LoRA's part in a merge. */
export interface Part {
  readonly module: LoraModule;
  /** What dW is multiplied by, the file's own alpha included; it goes on A alone. */
  readonly factor: number;
}

/** Emits LoRAs of one module put side by side along the rank: dW is the sum of factor * dW of the parts. */
export function mergeStages(modules: ReadonlyMap<string, readonly Part[]>, dtype: StoredDtype): readonly Stage[] {
  return [...modules].map(([path, parts]) => ({
    id: `${path} merge`,
    takes: [],
    build: (g) => {
      const rows = parts.map(({ module, factor }) => g.mul(g.weight(module.a), g.constant(Float32Array.of(factor), [1, 1])));
      const columns = parts.map(({ module }) => columnsOf(g, module));
      const a = rows.length === 1 ? first(rows) : g.concat(rows, 0);
      const b = columns.length === 1 ? first(columns) : g.concat(columns, 1);
      return { emit: { [factorName(path, 'A')]: g.store(a, dtype), [factorName(path, 'B')]: g.store(b, dtype) } };
    },
  }));
}

export type Side = 'aa' | 'bb' | 'ab';
export const productName = (module: string, side: Side): string => `${module}.product.${side}`;

/**
 * Emits <dWa, dWa>, <dWb, dWb> and <dWa, dWb> of each module pair: with dW = B A the inner product of two
 * is the sum over (B1^T B2) * (A1 A2^T), so the dense matrices are never made.
 */
export function productStages(pairs: readonly (readonly [LoraModule, LoraModule])[]): readonly Stage[] {
  return pairs.map(([one, other]) => ({
    id: `${one.path} products`,
    takes: [],
    build: (g) => {
      const product = (x: LoraModule, y: LoraModule): Value => {
        const dims = [x.rank, y.rank];
        const bb = gemm(g, asDouble(g, columnsOf(g, x)), asDouble(g, columnsOf(g, y)), dims, { transA: 1 });
        const aa = gemm(g, asDouble(g, g.weight(x.a)), asDouble(g, g.weight(y.a)), dims, { transB: 1 });
        const scale = g.doubles(Float64Array.of(x.scale * y.scale), [1, 1]);
        return multiply(g, multiply(g, bb, aa), scale);
      };
      const sum = (x: Value): Value => g.node('ReduceSum', [x, g.integers([0, 1])], [1, 1], { keepdims: 1 }, '', ELEMENT.DOUBLE);
      return {
        emit: {
          [productName(one.path, 'aa')]: sum(product(one, one)),
          [productName(one.path, 'bb')]: sum(product(other, other)),
          [productName(one.path, 'ab')]: sum(product(one, other)),
        },
      };
    },
  }));
}

function first<T>(items: readonly T[]): T {
  const [item] = items;
  if (item === undefined) throw new RangeError('nothing to merge');
  return item;
}
