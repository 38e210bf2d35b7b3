import type { TensorRange } from '../contract/tensor.ts';
import { bytesOf, scale, type Value } from './dims.ts';
import type { NodeProto } from './proto.ts';

/** An amount for n images: fixed + n * perImage. */
export interface Amount {
  readonly fixed: number;
  readonly perImage: number;
}

/** What a run of a graph costs, read off its nodes. */
export interface GraphCost {
  /** Distinct byte ranges of weights, in the order of use. */
  readonly weights: readonly TensorRange[];
  /** Floating-point operations of the matrix products. */
  readonly flops: Amount;
  /** Bytes alive at each node, the cast copies of weights included. */
  readonly live: readonly Amount[];
  /** Bytes of one image's inputs. */
  readonly stateBytes: number;
  /** Bytes of the results, alive until the run ends. */
  readonly results: Amount;
}

export function sumBytes(values: readonly Value[]): { fixed: number; perImage: number } {
  const sum = { fixed: 0, perImage: 0 };
  for (const value of values) sum[scale(value.dims)] += bytesOf(value);
  return sum;
}

/**
 * Follows each node's results from where they are made to where they are last used. What needs nothing
 * but weights (their casts) is made first: that is the order in which the runtime sorts nodes, measured on
 * a DINOv3 block, where all casts were in memory before the first product.
 */
export function liveBytes(
  nodes: readonly NodeProto[],
  inputs: readonly Value[],
  outputs: readonly Value[],
  values: ReadonlyMap<string, Value>,
): Amount[] {
  const lastUse = new Map<string, number>();
  nodes.forEach((node, at) => node.input.forEach((name) => lastUse.set(name, at)));
  outputs.forEach(({ name }) => lastUse.set(name, nodes.length));
  const live = sumBytes(inputs);
  const count = (name: string, sign: 1 | -1): void => {
    const value = values.get(name);
    if (value) live[scale(value.dims)] += sign * bytesOf(value); // Else a weight, which is mapped, or a small constant.
  };
  const isEarly = (node: NodeProto): boolean => !node.input.some((name) => values.has(name));
  for (const node of nodes) if (isEarly(node)) for (const name of node.output) count(name, 1);
  return nodes.map((node, at) => {
    if (!isEarly(node)) for (const name of node.output) count(name, 1);
    const now = { ...live };
    for (const name of new Set(node.input)) if (lastUse.get(name) === at) count(name, -1);
    return now;
  });
}
