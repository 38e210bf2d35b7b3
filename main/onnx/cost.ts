import type { ByteRange } from '../contract/tensor.ts';
import { bytesOf, scale, type Value } from './dims.ts';
import type { NodeProto } from './proto.ts';

/** An amount for n images: fixed + n * perImage. */
export interface Amount {
  readonly fixed: number;
  readonly perImage: number;
}

/** Enough for any of these, however many images there are. */
export function mostOf(amounts: readonly Amount[]): Amount {
  const most = (of: (amount: Amount) => number): number => Math.max(0, ...amounts.map(of));
  return { fixed: most(({ fixed }) => fixed), perImage: most(({ perImage }) => perImage) };
}

/** What a run of a graph costs, read off its nodes. */
export interface GraphCost {
  /** Distinct byte ranges of weights, in the order of use. */
  readonly weights: readonly ByteRange[];
  /** Floating-point operations of the matrix products. */
  readonly flops: Amount;
  /** Bytes that the run holds at each node beside its inputs, the cast copies of weights included. */
  readonly live: readonly Amount[];
  /** Bytes of one image's inputs. */
  readonly inputBytes: number;
  /** Bytes of the results, alive until the run ends. */
  readonly results: Amount;
}

export function sumBytes(values: readonly Value[]): { fixed: number; perImage: number } {
  const sum = { fixed: 0, perImage: 0 };
  for (const value of values) sum[scale(value.dims)] += bytesOf(value);
  return sum;
}

/** Nodes that need nothing but weights and constants; the cast of a weight that came as other bits, or of its columns, is one, too. */
function earlyNodes(nodes: readonly NodeProto[], values: ReadonlyMap<string, Value>): ReadonlySet<NodeProto> {
  const bits = new Set<string>();
  const isEarly = ({ input }: NodeProto): boolean => input.every((name) => !values.has(name) || bits.has(name));
  const early = nodes.filter((node) => {
    if (!isEarly(node)) return false;
    if (node.opType === 'BitCast' || node.opType === 'Slice') node.output.forEach((name) => bits.add(name));
    return true;
  });
  return new Set(early);
}

/**
 * The casts of weights before all other nodes. The runtime sorts nodes itself (see {@link runOrder}), and in
 * a list of this order it makes each cast just before its only use; in the order of their making, it made
 * all of a graph's casts before the first product, and a Qwen2.5-VL MLP took 1250 MB in place of 910.
 */
export function castsFirst(nodes: readonly NodeProto[], values: ReadonlyMap<string, Value>): readonly NodeProto[] {
  const early = earlyNodes(nodes, values);
  return [...early, ...nodes.filter((node) => !early.has(node))];
}

/**
 * The order in which onnxruntime runs nodes: back from those whose results no other node takes, the later
 * of a node's sources first (GraphViewer and Graph::ReverseDFSFrom in onnxruntime/core/graph).
 */
export function runOrder(nodes: readonly NodeProto[]): readonly NodeProto[] {
  const makers = new Map(nodes.flatMap((node, at) => node.output.map((name) => [name, at] as const)));
  const used = new Set(nodes.flatMap((node) => node.input));
  const sources = (node: NodeProto): number[] =>
    [...new Set(node.input.flatMap((name) => makers.get(name) ?? []))].sort((a, b) => a - b);
  const stack = nodes.flatMap((node, at) => (node.output.some((name) => used.has(name)) ? [] : [{ at, leave: false }]));
  const visited = new Set<number>();
  const order: NodeProto[] = [];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const node = nodes[next.at] as NodeProto;
    if (next.leave) order.push(node);
    if (next.leave || visited.has(next.at)) continue;
    visited.add(next.at);
    stack.push({ at: next.at, leave: true });
    for (const at of sources(node)) if (!visited.has(at)) stack.push({ at, leave: false });
  }
  return order;
}

/**
 * Follows each node's results from where they are made to where they are last used, in the runtime's order. A
 * Reshape makes nothing: it gives the same bytes another shape.
 */
export function liveBytes(
  nodes: readonly NodeProto[],
  inputs: readonly Value[],
  outputs: readonly Value[],
  values: ReadonlyMap<string, Value>,
): Amount[] {
  const ordered = runOrder(nodes);
  const sourceOf = reshaped(ordered, outputs);
  const lastUse = new Map<string, number>();
  ordered.forEach((node, at) => node.input.forEach((name) => lastUse.set(sourceOf(name), at)));
  outputs.forEach(({ name }) => lastUse.set(name, nodes.length));
  const given = new Set(inputs.map(({ name }) => name));
  const live = { fixed: 0, perImage: 0 };
  const count = (name: string, sign: 1 | -1): void => {
    const value = values.get(name);
    if (value && !given.has(name)) live[scale(value.dims)] += sign * bytesOf(value); // Else a weight, which is mapped, or a small constant.
  };
  return ordered.map((node, at) => {
    for (const name of node.output) if (sourceOf(name) === name) count(name, 1);
    const now = { ...live };
    for (const name of new Set(node.input.map(sourceOf))) if (lastUse.get(name) === at) count(name, -1);
    return now;
  });
}

/** From a name to that of the bytes behind it; a result is in memory of its own. */
function reshaped(ordered: readonly NodeProto[], outputs: readonly Value[]): (name: string) => string {
  const leaving = new Set(outputs.map(({ name }) => name));
  const sources = new Map<string, string>();
  const sourceOf = (name: string): string => sources.get(name) ?? name;
  for (const { opType, input, output } of ordered) {
    const [from = '', to = ''] = [input[0], output[0]];
    if (opType === 'Reshape' && !leaving.has(to)) sources.set(to, sourceOf(from));
  }
  return sourceOf;
}
