import type { HostTensor } from '../contract/tensor.ts';
import type { GraphWeight } from '../onnx/built-graph.ts';
import {
  forget,
  freed,
  goOn,
  groupDone,
  groupJoiner,
  loadChunks,
  named,
  pick,
  type Chunk,
  type JoinedGroup,
  type NetworkRun,
} from './group.ts';
import type { LaneForget, LaneResult, LaneSetup, LaneTask } from './lane-thread.ts';
import { fedGraph, LANE_SCRIPT } from './lanes.ts';
import { outputName } from './stage.ts';
import { buffersFor, type BufferedWeights, type WeightBuffers } from './supply.ts';
import { Threads } from './threads.ts';

/** A stage as it is run: a graph for each share, or one for a stage without parts. */
type Shares = readonly [JoinedGroup, ...JoinedGroup[]];

/**
 * Runs stages one after another, each by several threads that compute a share of it and read its weights from the same
 * buffer. In one session on as many threads, one casts a weight while the others wait, and they then fetch it from that
 * one's cache.
 * @throws I2lError as runNetwork does; INTERNAL if a thread stops
 */
export async function runInShares(run: NetworkRun): Promise<void> {
  const { plan } = run;
  const { chunks, states } = loadChunks(run);
  const threads = new Threads(LANE_SCRIPT, plan.shares, { threads: plan.threadsPerShare } satisfies LaneSetup);
  const buffers = buffersFor(run);
  const join = shareJoiner(run);
  const ordered = (at: number): Shares | undefined => {
    const shares = join(at);
    if (shares) buffers.order(weightsOf(shares));
    return shares;
  };
  try {
    let next = ordered(0);
    for (let at = 0; next; at++) {
      await goOn(run);
      const shares = next;
      await runStage(run, shares, { threads, chunks, states, buffers }, () => (next = ordered(at + 1)));
      if (forget(states, shares[0].neededLater)) await letGo(threads);
    }
  } finally {
    await threads.close();
    await buffers.close();
  }
}

interface Run {
  readonly threads: Threads;
  readonly chunks: readonly Chunk[];
  readonly states: readonly Map<string, HostTensor>[];
  readonly buffers: WeightBuffers;
}

/** A function of its own, so that nothing has its weights any more once it has returned. @param meanwhile done while it runs */
async function runStage(run: NetworkRun, shares: Shares, { buffers, ...rest }: Run, meanwhile: () => void): Promise<void> {
  const started = performance.now();
  const weights = await named(shares[0].name, buffers.take());
  const waitMs = performance.now() - started;
  const running = runShares(run, shares, { ...rest, weights, waitMs });
  running.catch(() => undefined); // It is waited for below, whatever happens meanwhile.
  meanwhile();
  await running;
  buffers.giveBack();
}

/** Else state that no stage takes any more would lie there for the rest of the run: lanes had it, too. */
async function letGo(threads: Threads): Promise<void> {
  await threads.performOnEach({ forget: true } satisfies LaneForget);
  globalThis.gc?.();
}

function shareJoiner(run: NetworkRun): (at: number) => Shares | undefined {
  const of = run.plan.shares;
  const [first, ...others] = Array.from({ length: of }, (_, index) => groupJoiner(run, { index, of }));
  return (at) => {
    const group = first?.(at);
    return group && [group, ...(group.hasParts ? others.flatMap((join) => join(at) ?? []) : [])];
  };
}

function weightsOf(shares: Shares): readonly GraphWeight[] {
  return shares.flatMap(({ built }) => built.weights);
}

interface SharedRun extends Omit<Run, 'buffers'> {
  readonly weights: BufferedWeights;
  readonly waitMs: number;
}

async function runShares(run: NetworkRun, shares: Shares, { threads, chunks, states, weights, waitMs }: SharedRun): Promise<void> {
  const [{ name, keeps, emits, takes }] = shares;
  const started = performance.now();
  const graphs = shares.map(({ built }) => fedGraph(built, weights.layout, weights.buffer));
  let [createMs, sinkMs] = [0, 0];
  for (const [i, chunk] of chunks.entries()) {
    if (i > 0) await goOn(run);
    const state = states[i] as Map<string, HostTensor>;
    const tasks = graphs.map((graph): LaneTask => ({ ...graph, state: pick(state, takes) }));
    const parts = await named(name, Promise.all(tasks.map((task) => threads.perform(task) as Promise<LaneResult>)));
    createMs += Math.max(...parts.map((part) => part.createMs));
    for (const key of keeps) state.set(key, sum(resultsOf(parts, outputName(key)), state.get(key)));
    const before = performance.now();
    for (const key of emits) {
      const [whole] = resultsOf(parts, key);
      run.sink(key, whole, chunk);
      freed(whole);
    }
    sinkMs += performance.now() - before;
  }
  const runMs = performance.now() - started - createMs - sinkMs;
  groupDone(run, shares[0], { waitMs, createMs, runMs, sinkMs, wereKept: weights.wereKept });
}

function resultsOf(parts: readonly LaneResult[], output: string): readonly [HostTensor, ...HostTensor[]] {
  return parts.map(({ results }) => results[output] as HostTensor) as [HostTensor, ...HostTensor[]];
}

/**
 * What the shares give together, added in their order, in memory that all threads see: that of what it replaces, where it
 * is of its size.
 */
function sum(parts: readonly [HostTensor, ...HostTensor[]], replaced: HostTensor | undefined): HostTensor {
  const [{ data, dims }, ...others] = parts;
  const total = roomLike(data as Float32Array, replaced);
  total.set(data as Float32Array);
  for (const other of others) addTo(total, other.data as Float32Array);
  parts.forEach(freed);
  return { data: total, dims };
}

function roomLike({ length, byteLength }: Float32Array, replaced: HostTensor | undefined): Float32Array {
  const old = replaced?.data;
  const fits = old instanceof Float32Array && old.length === length && old.buffer instanceof SharedArrayBuffer;
  return fits ? old : new Float32Array(new SharedArrayBuffer(byteLength));
}

function addTo(total: Float32Array, values: Float32Array): void {
  for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (values[i] as number);
}
