import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import { Session } from '../onnx/runtime.ts';
import { serve } from './threads.ts';

/** A group of stages for a lane: made, run once and let go, on one thread of the CPU. */
export interface LaneTask {
  readonly graph: BuiltGraph;
  readonly feeds: TensorMap;
}

export interface LaneResult {
  readonly results: Readonly<Record<string, HostTensor>>;
  readonly createMs: number;
  readonly runMs: number;
}

async function perform({ graph, feeds }: LaneTask): Promise<LaneResult> {
  const started = performance.now();
  const session = await Session.create(graph, { device: 'cpu', threads: 1 });
  const created = performance.now();
  try {
    const results = await session.run(feeds);
    return { results, createMs: created - started, runMs: performance.now() - created };
  } finally {
    await session.release();
  }
}

serve<LaneTask, LaneResult>(
  perform,
  ({ results }) => Object.values(results).map(({ data }) => data.buffer as ArrayBuffer),
  () => Promise.resolve(),
);
