import type { ByteRange } from '../contract/tensor.ts';
import type { Amount } from './cost.ts';
import type { Value } from './dims.ts';
import type { NodeProto } from './proto.ts';

/** What a graph's cost is read off. */
export interface GraphParts {
  readonly nodes: readonly NodeProto[];
  /** Results of nodes and inputs, by their names. */
  readonly values: ReadonlyMap<string, Value>;
  readonly weights: readonly { readonly range: ByteRange; readonly stored: Value }[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly flops: Amount;
}

/** Of graphs that cost the same: the weights' names and places are not in it. */
export function likenessOf({ nodes, values, weights, inputs, outputs, flops }: GraphParts): string {
  const numbers = new Map(weights.map(({ stored }, i) => [stored.name, i]));
  const plain = (name: string): string | number => numbers.get(name) ?? name;
  return JSON.stringify([
    nodes.map(({ opType, input, output }) => [
      opType,
      input.map(plain),
      output.map((name) => [plain(name), shapeOf(values.get(name))]),
    ]),
    weights.map(({ range, stored }) => [range.shape, range.length, stored.type]),
    inputs,
    outputs.map((value) => [plain(value.name), shapeOf(value)]),
    flops,
  ]);
}

function shapeOf(value: Value | undefined): unknown {
  return value && [value.dims, value.type];
}
