import { describe, expect, test } from 'vitest';
import { Graph, IMAGES, type Value } from '../../main/onnx/graph.ts';
import { plainAttention, type AttentionOptions } from '../../main/onnx/plain-attention.ts';
import { Session } from '../../main/onnx/runtime.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';

/** The fused operator is checked against plain loops in graph.test.ts; here both forms have to agree. */
test.each([
  [1, 5, 5, 2, 4],
  [2, 36, 36, 8, 8],
  [3, 1, 40, 4, 6],
])(
  'attention without the fused operator: %i images, %i queries, %i keys, %i heads of %i',
  async (images, queries, keys, heads, head) => {
    const width = heads * head;
    const next = mulberry32(queries);
    const tensor = (tokens: number) => ({
      data: Float32Array.from({ length: images * tokens * width }, () => 2 * next() - 1),
      dims: [images, tokens, width],
    });
    const feeds = { q: tensor(queries), k: tensor(keys), v: tensor(keys) };
    const results: Float32Array[] = [];
    for (const fusedAttention of [true, false]) {
      const graph = new Graph({ fusedAttention });
      const [q, k, v] = [
        graph.input('q', [IMAGES, queries, width]),
        graph.input('k', [IMAGES, keys, width]),
        graph.input('v', [IMAGES, keys, width]),
      ];
      graph.output('y', graph.attention(q, k, v, heads));
      const session = await Session.create(graph.build(), { device: 'cpu', threads: 1 });
      results.push((await session.run(feeds))['y']?.data as Float32Array);
      await session.release();
    }
    const [fused, plain] = results;
    expect(plain?.length).toBe(images * queries * width);
    plain?.forEach((value, i) => expect(value).toBeCloseTo(fused?.[i] ?? Number.NaN, 5));
  },
);

describe('in blocks of queries', () => {
  const [images, tokens, heads, head] = [2, 7, 2, 4];
  const width = heads * head;
  const next = mulberry32(3);
  const draw = () => Float32Array.from({ length: images * tokens * width }, () => 2 * next() - 1);
  const feeds = { q: draw(), k: draw(), v: draw() };

  async function attend(options: AttentionOptions): Promise<{ values: Float32Array; products: number }> {
    const graph = new Graph();
    const [q, k, v] = ['q', 'k', 'v'].map((name) => graph.input(name, [IMAGES, tokens, width])) as [Value, Value, Value];
    graph.output('y', plainAttention(graph, q, k, v, heads, options));
    const session = await Session.create(graph.build(), { device: 'cpu', threads: 1 });
    const dims = [images, tokens, width];
    const tensors = Object.fromEntries(Object.entries(feeds).map(([name, data]) => [name, { data, dims }]));
    const values = (await session.run(tensors))['y']?.data as Float32Array;
    await session.release();
    return { values, products: graph.cost().live.length };
  }

  /** softmax over the keys that a query sees, by plain loops. */
  function expected(causal: boolean): Float32Array {
    const result = new Float32Array(images * tokens * width);
    const at = (image: number, token: number, h: number, i: number): number => (image * tokens + token) * width + h * head + i;
    for (let image = 0; image < images; image++)
      for (let query = 0; query < tokens; query++)
        for (let h = 0; h < heads; h++) {
          const seen = causal ? query + 1 : tokens;
          const scores = Array.from({ length: seen }, (_, key) => {
            let sum = 0;
            for (let i = 0; i < head; i++) sum += (feeds.q[at(image, query, h, i)] ?? 0) * (feeds.k[at(image, key, h, i)] ?? 0);
            return Math.exp(sum / Math.sqrt(head));
          });
          const total = scores.reduce((sum, score) => sum + score, 0);
          for (let i = 0; i < head; i++)
            result[at(image, query, h, i)] = scores.reduce((sum, score, key) => sum + (score / total) * (feeds.v[at(image, key, h, i)] ?? 0), 0); // prettier-ignore
        }
    return result;
  }

  // 7 keys in 2 heads: 56 bytes a query.
  test.each([
    ['one block', 1 << 20],
    ['blocks of three', 56 * 3],
    ['one query at a time', 1],
  ])('%s, with and without a mask', async (_name, blockBytes) => {
    for (const causal of [true, false]) {
      const { values } = await attend({ causal, blockBytes });
      const wanted = expected(causal);
      expect(values).toHaveLength(wanted.length);
      values.forEach((value, i) => expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 5));
    }
  });

  test('smaller blocks are more products', async () => {
    const [one, many] = [await attend({ blockBytes: 1 << 20 }), await attend({ blockBytes: 56 })];
    expect(many.products - one.products).toBeGreaterThanOrEqual(3 * 6);
  });

  test('the layer of the graph is the masked form', async () => {
    const graph = new Graph();
    const [q, k, v] = ['q', 'k', 'v'].map((name) => graph.input(name, [IMAGES, tokens, width])) as [Value, Value, Value];
    graph.output('y', graph.causalAttention(q, k, v, heads));
    expect(graph.cost().flops).toEqual({ fixed: 0, perImage: 2 * tokens * tokens * width });
    expect(() => graph.causalAttention(q, graph.slice(k, 1, 0, 3), v, heads)).toThrow(/causal attention/);
  });
});
