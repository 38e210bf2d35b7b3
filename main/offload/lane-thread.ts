import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import { modelKey, SessionCache } from './session-cache.ts';
import { serve } from './threads.ts';
import { feedsFrom, layOut, readInto } from './weight-buffer.ts';

/** A group of stages for a lane, whose weights are fed: run once, on one thread of the CPU. */
export interface LaneTask {
  readonly graph: BuiltGraph;
  readonly state: TensorMap;
}

export interface LaneResult {
  readonly results: Readonly<Record<string, HostTensor>>;
  readonly waitMs: number;
  readonly createMs: number;
  readonly runMs: number;
}

const sessions = new SessionCache({ device: 'cpu', threads: 1 });
let buffer = new ArrayBuffer(0);

/** Reads by itself: its bytes come from the system's cache, while another lane computes. */
async function perform({ graph, state }: LaneTask): Promise<LaneResult> {
  const started = performance.now();
  const weights = readWeights(graph);
  const read = performance.now();
  const session = await sessions.get(modelKey(graph), () => graph);
  const created = performance.now();
  const results = await session.run({ ...state, ...weights }, graph.outputs);
  return { results, waitMs: read - started, createMs: created - read, runMs: performance.now() - created };
}

function readWeights({ weights }: BuiltGraph): TensorMap {
  const layout = layOut(weights);
  if (buffer.byteLength < layout.bytes) {
    buffer.transfer(0);
    buffer = new ArrayBuffer(layout.bytes);
  }
  readInto(buffer, layout.reads);
  return feedsFrom(weights, layout, buffer);
}

serve<LaneTask, LaneResult>(
  perform,
  ({ results }) => Object.values(results).map(({ data }) => data.buffer as ArrayBuffer),
  () => sessions.close(),
);
