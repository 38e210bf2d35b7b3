/** The long products of LoRA algebra as kernels over the factors of one module, in double precision. */
import { rowsOf, type TensorRange } from '../contract/tensor.ts';
import type { LoraModule } from '../lora/read-lora.ts';
import type { StoredDtype } from '../lora/write-lora.ts';
import type { Kernel, KernelInput } from '../offload/kernels.ts';
import type { Graph, Value } from '../onnx/graph.ts';
import { ELEMENT } from '../onnx/proto.ts';

/** Takes a and b. Gives gramA = A A^T and gramB = B^T B, [rank, rank]. */
export function gramKernel(module: LoraModule): Kernel {
  const { a, b, rank } = module;
  return {
    name: 'gram',
    settings: columnsText(module),
    inputs: { a: stored(a), b: stored(b) },
    build: (g, take) => {
      const [x, y] = [asDouble(g, take('a')), asDouble(g, columnsOf(g, take('b'), module))];
      const square = [rank, rank];
      return { gramA: gemm(g, x, x, square, { transB: 1 }), gramB: gemm(g, y, y, square, { transA: 1 }) };
    },
  };
}

/** How many components of a module are kept, and the rank of its new factors: what is above is room to learn. */
export interface NewRank {
  readonly kept: number;
  readonly rank: number;
}

/**
 * Takes a and b; right [kept, old rank] and left [old rank, kept], with which right @ A and B @ left are the
 * kept components; start [room, in], the rows of A that are to learn, where there is room. Gives newA and
 * newB in the type that a file stores. The sign of a component is free; here the entry of largest magnitude
 * in its row of A is positive, so equal LoRAs give equal files. Columns of B above the kept ones are zero:
 * dW is unchanged, and with a row of A beside it that is not zero such a column can still learn.
 */
export function recombineKernel(module: LoraModule, { kept, rank }: NewRank, dtype: StoredDtype): Kernel {
  const { a, b, in: inner, out, rank: old } = module;
  const room = rank - kept;
  const start: Kernel['inputs'] = room > 0 ? { start: { type: 'F32', dims: [room, inner] } } : {};
  if (kept === 0) {
    const build: Kernel['build'] = (g, take) => ({
      newA: g.store(take('start'), dtype),
      newB: g.store(zeros(g, [out, rank]), dtype),
    });
    return { name: 'start', settings: `${out} ${dtype}`, inputs: start, build };
  }
  const small: Kernel['inputs'] = { right: { type: 'F64', dims: [kept, old] }, left: { type: 'F64', dims: [old, kept] } };
  return {
    name: 'recombine',
    settings: `${columnsText(module)} ${dtype}`,
    inputs: { a: stored(a), b: stored(b), ...small, ...start },
    build: (g, take) => {
      const rows = gemm(g, take('right'), asDouble(g, take('a')), [kept, inner]);
      const signs = signsOf(g, rows, kept);
      const left = multiply(g, take('left'), likeNode(g, 'Transpose', [signs], [1, kept], { perm: [1, 0] }));
      const padded = room > 0 ? joined(g, [left, asDouble(g, zeros(g, [old, room]))], 1) : left;
      const newRows = g.store(multiply(g, rows, signs), dtype);
      return {
        newA: room > 0 ? joined(g, [newRows, g.store(take('start'), dtype)], 0) : newRows,
        newB: g.store(gemm(g, asDouble(g, columnsOf(g, take('b'), module)), padded, [out, rank]), dtype),
      };
    },
  };
}

/** Takes the first `rank` rows of A as a, and b. Gives newA and newB: these rows and as many columns. */
export function cutKernel(module: LoraModule, rank: number, dtype: StoredDtype): Kernel {
  return {
    name: 'cut',
    settings: `${columnsText(module)} ${dtype}`,
    inputs: { a: stored(rowsOf(module.a, 0, rank)), b: stored(module.b) },
    build: (g, take) => ({
      newA: g.store(asFloat(g, take('a')), dtype),
      newB: g.store(asFloat(g, columnsOf(g, take('b'), module, rank)), dtype),
    }),
  };
}

/** One LoRA's part in a merge. */
export interface Part {
  readonly module: LoraModule;
  /** What dW is multiplied by, the file's own alpha included; it goes on A alone. */
  readonly factor: number;
}

/**
 * Takes a0, b0, a1, b1 ..., the factors of each part. Gives newA and newB, the parts side by side along the
 * rank: dW is the sum of factor * dW of the parts.
 */
export function mergeKernel(parts: readonly Part[], dtype: StoredDtype): Kernel {
  const inputs = parts.flatMap(({ module: { a, b } }, i) => [[`a${i}`, stored(a)] as const, [`b${i}`, stored(b)] as const]);
  return {
    name: 'merge',
    settings: [...parts.map(({ module, factor }) => `${factor} ${columnsText(module)}`), dtype].join(),
    inputs: Object.fromEntries(inputs),
    build: (g, take) => {
      const rows = parts.map(({ factor }, i) => g.mul(asFloat(g, take(`a${i}`)), g.constant(Float32Array.of(factor), [1, 1])));
      const columns = parts.map(({ module }, i) => asFloat(g, columnsOf(g, take(`b${i}`), module)));
      return { newA: g.store(joined(g, rows, 0), dtype), newB: g.store(joined(g, columns, 1), dtype) };
    },
  };
}

/**
 * Takes a0, b0, a1 and b1. Gives ff, ss and fs: the inner products <dW0, dW0>, <dW1, dW1> and <dW0, dW1>.
 * With dW = B A that of two is the sum over (B0^T B1) * (A0 A1^T), so the dense matrices are never made.
 */
export function innerProductsKernel(first: LoraModule, second: LoraModule): Kernel {
  const modules = [first, second];
  const inputs = modules.flatMap(({ a, b }, i) => [[`a${i}`, stored(a)] as const, [`b${i}`, stored(b)] as const]);
  return {
    name: 'inner products',
    settings: modules.map((module) => `${module.scale} ${columnsText(module)}`).join(),
    inputs: Object.fromEntries(inputs),
    build: (g, take) => {
      const factors = modules.map((module, i) => ({
        rank: module.rank,
        scale: module.scale,
        a: asDouble(g, take(`a${i}`)),
        b: asDouble(g, columnsOf(g, take(`b${i}`), module)),
      }));
      const [f, s] = factors as [(typeof factors)[0], (typeof factors)[0]];
      const product = (x: typeof f, y: typeof f): Value => {
        const dims = [x.rank, y.rank];
        const products = multiply(g, gemm(g, x.b, y.b, dims, { transA: 1 }), gemm(g, x.a, y.a, dims, { transB: 1 }));
        const sum = likeNode(g, 'ReduceSum', [products], [1, 1], { keepdims: 1 });
        return multiply(g, sum, g.doubles(Float64Array.of(x.scale * y.scale), [1, 1]));
      };
      return { ff: product(f, f), ss: product(s, s), fs: product(f, s) };
    },
  };
}

function stored({ dtype, shape }: TensorRange): KernelInput {
  return { type: dtype, dims: shape };
}

/** B, [out, rank], or the first columns of it: of a fused layer's B only some are a module's own. */
function columnsOf(g: Graph, b: Value, { firstColumn, rank }: LoraModule, count = rank): Value {
  return b.dims[1] === count ? b : g.slice(asFloat(g, b), 1, firstColumn, firstColumn + count);
}

/** Where a kernel takes its columns: modules of the same shapes may differ in it. */
function columnsText({ firstColumn, rank }: LoraModule): string {
  return `columns ${firstColumn}+${rank}`;
}

/** [rank, 1] of 1 and -1: that of each row's entry of largest magnitude; 1 for a tie. */
function signsOf(g: Graph, a: Value, rank: number): Value {
  const column = [rank, 1];
  const axis = g.integers([1]);
  const highest = g.node('ReduceMax', [a, axis], column, { keepdims: 1 }, '', ELEMENT.DOUBLE);
  const lowest = g.node('ReduceMin', [a, axis], column, { keepdims: 1 }, '', ELEMENT.DOUBLE);
  const sign = likeNode(g, 'Sign', [likeNode(g, 'Add', [highest, lowest], column)], column);
  const half = g.doubles(Float64Array.of(0.5), [1, 1]);
  return likeNode(g, 'Sign', [likeNode(g, 'Add', [sign, half], column)], column);
}

function zeros(g: Graph, dims: readonly number[]): Value {
  return g.node('Expand', [g.constant(Float32Array.of(0), [1, 1]), g.integers(dims)], dims);
}

function joined(g: Graph, parts: readonly Value[], axis: number): Value {
  const [first] = parts;
  if (!first) throw new RangeError('nothing to join');
  if (parts.length === 1) return first;
  const along = parts.reduce((sum, part) => sum + Number(part.dims[axis]), 0);
  return likeNode(g, 'Concat', parts, first.dims.map(Number).with(axis, along), { axis });
}

function asDouble(g: Graph, x: Value): Value {
  return g.cast(x, ELEMENT.DOUBLE);
}

function asFloat(g: Graph, x: Value): Value {
  return g.cast(x, ELEMENT.FLOAT);
}

function multiply(g: Graph, x: Value, by: Value): Value {
  return likeNode(g, 'Mul', [x, by], x.dims.map(Number));
}

function gemm(g: Graph, a: Value, b: Value, dims: readonly number[], attributes: Record<string, number> = {}): Value {
  return likeNode(g, 'Gemm', [a, b], dims, attributes);
}

/** A node whose result has the type of its inputs. */
function likeNode(
  g: Graph,
  op: string,
  inputs: readonly Value[],
  dims: readonly number[],
  attributes: Record<string, number | number[]> = {},
): Value {
  // prettier-ignore
  const [first] = inputs;
  return g.node(op, inputs, dims, attributes, '', first?.type ?? ELEMENT.FLOAT);
}
