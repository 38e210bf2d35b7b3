import { expect, test } from 'vitest';
import { Graph, IMAGES } from '../../main/onnx/graph.ts';
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
