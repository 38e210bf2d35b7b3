/**
 * The long products of LoRA algebra as stages over the LoRA file itself, so that a factor of any length
 * goes through the same mapped weights as a network's. In double precision.
 */
import type { LoraModule } from '../lora/read-lora.ts';
import type { StoredDtype } from '../lora/write-lora.ts';
import type { Graph, Value } from '../onnx/graph.ts';
import { ELEMENT } from '../onnx/proto.ts';
import type { Stage } from '../offload/stage.ts';

export const gramName = (module: string, factor: 'A' | 'B'): string => `${module}.gram.${factor}`;

/** Emits A A^T and B^T B of each module, [rank, rank] in double precision. One stage a module. */
export function gramStages(modules: readonly LoraModule[]): readonly Stage[] {
  return modules.map((module) => ({
    id: `${module.path} gram`,
    takes: [],
    build: (g) => {
      const a = asDouble(g, g.weight(module.a));
      const b = asDouble(g, g.weight(module.b));
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

/** A module with the small matrices that make its new factors: right [k, rank] @ A and B @ left [rank, k]. */
export interface Recombined {
  readonly module: LoraModule;
  readonly rank: number;
  readonly right: Float64Array;
  readonly left: Float64Array;
}

export const newFactorName = (module: string, factor: 'A' | 'B'): string => `${module}.new.${factor}`;

/**
 * Emits each module's new factors in the type that a file stores. The sign of a component is free; here
 * the entry of largest magnitude in its row of A is positive, so equal LoRAs give equal files.
 */
export function recombineStages(modules: readonly Recombined[], dtype: StoredDtype): readonly Stage[] {
  return modules.map(({ module, rank, right, left }) => ({
    id: `${module.path} factors`,
    takes: [],
    build: (g) => {
      const a = gemm(g, g.doubles(right, [rank, module.rank]), asDouble(g, g.weight(module.a)), [rank, module.in]);
      const b = gemm(g, asDouble(g, g.weight(module.b)), g.doubles(left, [module.rank, rank]), [module.out, rank]);
      const signs = signsOf(g, a, rank);
      const row = g.node('Transpose', [signs], [1, rank], { perm: [1, 0] }, '', ELEMENT.DOUBLE);
      return {
        emit: {
          [newFactorName(module.path, 'A')]: g.store(multiply(g, a, signs), dtype),
          [newFactorName(module.path, 'B')]: g.store(multiply(g, b, row), dtype),
        },
      };
    },
  }));
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
