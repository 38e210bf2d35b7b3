import type { Graph, Value } from './graph.ts';
import { triple, type Dim } from './dims.ts';

/** Scores of one image that are in memory at a time: beyond this, queries go block by block. */
const BLOCK_BYTES = 32 << 20;
/** A score so low that its share is zero in f32. */
const NEVER = -1e30;

export interface AttentionOptions {
  /** A query sees the keys up to its own place. */
  readonly causal?: boolean;
  readonly blockBytes?: number;
}

/**
 * Attention from single products, for a block of queries at a time. onnxruntime's fused operator is wrong
 * on WebGPU from 32 tokens on: 18 % off in 1.30 on a software Vulkan driver, where every product by itself
 * is right. For causal attention this is the better form on the CPU too: a block leaves the keys after it
 * out, and 1440 tokens in 28 heads take as long as fused with half the memory.
 * @param q [n, t, heads * h]; @param k and v [n, s, heads * h]. @returns [n, t, heads * h]
 */
export function plainAttention(
  g: Graph,
  q: Value,
  k: Value,
  v: Value,
  heads: number,
  { causal = false, blockBytes = BLOCK_BYTES }: AttentionOptions = {},
): Value {
  const [images, queries, width] = triple(q);
  const [, keys] = triple(k);
  const head = width / heads;
  const split = (x: Value, tokens: number, order: readonly number[]): Value =>
    g.transpose(g.reshape(x, [images, tokens, heads, head]), order);
  const scaled = g.mul(split(q, queries, [0, 2, 1, 3]), g.constant(Float32Array.of(1 / Math.sqrt(head)), [1]));
  const [across, values] = [split(k, keys, [0, 2, 3, 1]), split(v, keys, [0, 2, 1, 3])];
  const rows = Math.min(queries, Math.max(1, Math.floor(blockBytes / (4 * heads * keys))));
  const blocks: Value[] = [];
  for (let from = 0; from < queries; from += rows) {
    const to = Math.min(queries, from + rows);
    const seen = causal ? to : keys;
    const scores: readonly Dim[] = [images, heads, to - from, seen];
    const products = g.node('MatMul', [g.slice(scaled, 2, from, to), g.slice(across, 3, 0, seen)], scores);
    const masked = causal ? g.add(products, causalMask(g, from, to)) : products;
    const shares = g.node('Softmax', [masked], scores, { axis: -1 });
    blocks.push(g.node('MatMul', [shares, g.slice(values, 2, 0, seen)], [images, heads, to - from, head]));
  }
  const mixed = blocks.length === 1 ? (blocks[0] as Value) : g.concat(blocks, 2);
  return g.reshape(g.transpose(mixed, [0, 2, 1, 3]), q.dims);
}

/** What is added to the scores of queries from .. to over the keys 0 .. to: [to - from, to]. */
function causalMask(g: Graph, from: number, to: number): Value {
  const rows = to - from;
  const own = new Float32Array(rows * rows);
  for (let row = 0; row < rows; row++) own.fill(NEVER, row * rows + row + 1, (row + 1) * rows);
  const corner = g.constant(own, [rows, rows]);
  return from === 0 ? corner : g.node('Pad', [corner, g.integers([0, from, 0, 0])], [rows, to]);
}
