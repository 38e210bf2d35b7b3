import { workerData } from 'node:worker_threads';
import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import type { RunnableGraph } from '../onnx/runtime.ts';
import { readInto } from './placed-reads.ts';
import { modelKey, SessionCache } from './session-cache.ts';
import { serve } from './threads.ts';
import { feedsFrom, type BufferLayout, type FeedView } from './weight-buffer.ts';

/** What a lane is started with. */
export interface LaneSetup {
  /** Of the CPU, within an operator. */
  readonly threads: number;
}

/** A graph for a lane, whose weights are fed: run once, on the CPU. */
export interface LaneTask {
  readonly graph: RunnableGraph;
  readonly state: TensorMap;
  readonly weights: LaneWeights;
}

/** Where the weights lie in a buffer: one that lanes share, or what the lane reads into its own. */
export interface LaneWeights {
  readonly views: readonly FeedView[];
  readonly from: SharedArrayBuffer | BufferLayout;
}

/** Asks a lane to let go of shared memory that nobody has any more, see Reader.forget. */
export interface LaneForget {
  readonly forget: true;
}

export interface LaneResult {
  readonly results: Readonly<Record<string, HostTensor>>;
  readonly waitMs: number;
  readonly createMs: number;
  readonly runMs: number;
}

const { threads } = workerData as LaneSetup;
const sessions = new SessionCache({ device: 'cpu', threads });
let own = new ArrayBuffer(0);

async function perform({ graph, state, weights }: LaneTask): Promise<LaneResult> {
  const started = performance.now();
  const { views, from } = weights;
  const feeds = feedsFrom(views, from instanceof SharedArrayBuffer ? from : readOwn(from));
  const read = performance.now();
  const session = await sessions.get(modelKey(graph), () => graph);
  const created = performance.now();
  const results = await session.run({ ...state, ...feeds }, graph.outputs);
  return { results, waitMs: read - started, createMs: created - read, runMs: performance.now() - created };
}

/** From the system's cache, while another lane computes. */
function readOwn({ bytes, reads }: BufferLayout): ArrayBuffer {
  if (own.byteLength < bytes) {
    own.transfer(0);
    own = new ArrayBuffer(bytes);
  }
  readInto(own, reads);
  return own;
}

function forget(): Promise<undefined> {
  globalThis.gc?.();
  return Promise.resolve(undefined);
}

serve<LaneTask | LaneForget, LaneResult | undefined>(
  (task) => ('forget' in task ? forget() : perform(task)),
  (result) => Object.values(result?.results ?? {}).map(({ data }) => data.buffer as ArrayBuffer),
  () => sessions.close(),
);
