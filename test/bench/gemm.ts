import { Graph } from '../../main/onnx/graph.ts';
import { Session } from '../../main/onnx/runtime.ts';
import { availableParallelism } from 'node:os';

/** The limit of the encoders: onnxruntime's own f32 Gemm on the shapes of a DINOv3 block, in GFLOP/s. */
export async function bestGemm(): Promise<number> {
  let best = 0;
  for (const rows of [201, 804]) best = Math.max(best, await gemmRate(rows, 4096, 8192));
  return best;
}

async function gemmRate(rows: number, inner: number, columns: number): Promise<number> {
  const graph = new Graph();
  const x = graph.input('x', [{ perImage: rows }, inner]);
  const w = graph.input('w', [columns, inner]);
  graph.output('y', graph.node('Gemm', [x, w], [{ perImage: rows }, columns], { transB: 1 }));
  const session = await Session.create(graph.build(), { device: 'cpu', threads: availableParallelism() });
  const feeds = {
    x: { data: new Float32Array(rows * inner).fill(0.5), dims: [rows, inner] },
    w: { data: new Float32Array(columns * inner).fill(0.25), dims: [columns, inner] },
  };
  await session.run(feeds);
  let best = Infinity;
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    await session.run(feeds);
    best = Math.min(best, performance.now() - started);
  }
  await session.release();
  return (2 * rows * inner * columns) / best / 1e6;
}
