import type { Graph, Value } from './graph.ts';
import { triple, type Dim } from './dims.ts';

/**
 * Attention from single products. onnxruntime's fused operator is wrong on WebGPU from 32 tokens on: 18 %
 * off in 1.30 on a software Vulkan driver, where every product by itself is right.
 * @param q [n, t, heads * h]; @param k and v [n, s, heads * h]. @returns [n, t, heads * h]
 */
export function plainAttention(g: Graph, q: Value, k: Value, v: Value, heads: number): Value {
  const [images, queries, width] = triple(q);
  const [, keys] = triple(k);
  const head = width / heads;
  const split = (x: Value, tokens: number, order: readonly number[]): Value =>
    g.transpose(g.reshape(x, [images, tokens, heads, head]), order);
  const scores: readonly Dim[] = [images, heads, queries, keys];
  const scaled = g.mul(split(q, queries, [0, 2, 1, 3]), g.constant(Float32Array.of(1 / Math.sqrt(head)), [1]));
  const products = g.node('MatMul', [scaled, split(k, keys, [0, 2, 3, 1])], scores);
  const shares = g.node('Softmax', [products], scores, { axis: -1 });
  const mixed = g.node('MatMul', [shares, split(v, keys, [0, 2, 1, 3])], [images, heads, queries, head]);
  return g.reshape(g.transpose(mixed, [0, 2, 1, 3]), q.dims);
}
