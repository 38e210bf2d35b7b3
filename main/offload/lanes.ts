import type { ByteRange, HostTensor, TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import { chainWork } from './chain-lanes.ts';
import { freed, goOn, groupDone, groupJoiner, named, pick, type JoinedGroup, type NetworkRun } from './group.ts';
import type { LaneResult, LaneSetup, LaneTask, LaneWeights } from './lane-thread.ts';
import { outputName } from './stage.ts';
import { Threads } from './threads.ts';
import { layOut, viewsOf, type BufferLayout } from './weight-buffer.ts';

export const LANE_SCRIPT = new URL('./lane-thread.ts', import.meta.url);

/** A group of stages as lanes take it. */
export interface LaneGroup extends Pick<JoinedGroup, 'group' | 'name' | 'takes' | 'keeps' | 'emits'> {
  /** What the reader brings into the system's cache while the group waits: work that takes longer than to read it. */
  readonly readAhead: readonly ByteRange[];
  /** What its lane is asked for. */
  readonly task: (state: TensorMap) => unknown;
}

/** How lanes compute. */
export interface LaneWork {
  /** What a lane's thread runs, and what it is started with; it answers with a {@link LaneResult}. */
  readonly script: URL;
  readonly setup?: LaneSetup;
  readonly join: (at: number) => LaneGroup | undefined;
}

/**
 * Runs groups of stages side by side, each on a thread of its own: the runtime casts a group's weights on one
 * thread however many it is given. What a group emits is taken in the groups' order, so that nothing depends on
 * which lane was faster. All images go in one run.
 * @throws I2lError as runNetwork does; INTERNAL if a lane's thread stops
 */
export async function runInLanes(
  run: NetworkRun,
  { script, setup, join }: LaneWork = run.plan.work === 'chains' ? chainWork(run) : graphWork(run),
): Promise<void> {
  const { plan, reader } = run;
  const state = new Map(Object.entries(run.load({ first: 0, count: plan.images })).map(([name, value]) => [name, shared(value)]));
  const lanes = new Threads(script, plan.lanes, setup);
  const taken: Promise<void>[] = [];
  try {
    for (let at = 0, joined = join(0); joined; joined = join(++at)) {
      await taken[Math.max(at - plan.ahead * plan.lanes, joined.group.waitsFor)];
      await goOn(run);
      if (joined.readAhead.length > 0) reader.warm(joined.readAhead);
      const task = joined.task(pick(state, joined.takes));
      const result = named(joined.name, lanes.perform(task) as Promise<LaneResult>);
      taken.push(inOrder(taken.at(-1), result, take.bind(undefined, run, joined, state)));
    }
    await taken.at(-1);
  } finally {
    await lanes.close();
  }
}

/** Lanes that run graphs. */
export function graphWork(run: NetworkRun, script = LANE_SCRIPT): LaneWork {
  const join = groupJoiner(run);
  return {
    script,
    setup: { threads: 1 },
    join: (at) => {
      const joined = join(at);
      if (!joined) return undefined;
      const { built, ...group } = joined;
      const layout = layOut(built.weights);
      const task = (state: TensorMap): LaneTask => ({ ...fedGraph(built, layout, layout), state });
      return { ...group, readAhead: built.weights.map(({ range }) => range), task };
    },
  };
}

/** Takes a result once all before it are taken. A failure that nobody waits for yet is not an unhandled one. */
function inOrder(before: Promise<void> | undefined, result: Promise<LaneResult>, use: (result: LaneResult) => void): Promise<void> {
  const taken = Promise.all([result, before]).then(([ready]) => use(ready));
  taken.catch(() => undefined);
  return taken;
}

function take(run: NetworkRun, joined: LaneGroup, state: Map<string, HostTensor>, result: LaneResult): void {
  const { keeps, emits } = joined;
  const { results, waitMs, createMs, runMs } = result;
  for (const key of keeps) state.set(key, shared(results[outputName(key)] as HostTensor));
  const started = performance.now();
  for (const key of emits) run.sink(key, results[key] as HostTensor, { first: 0, count: run.plan.images });
  const sinkMs = performance.now() - started;
  for (const key of emits) freed(results[key] as HostTensor);
  groupDone(run, joined, { waitMs, createMs, runMs, sinkMs });
}

/** A graph as a lane takes it. @param layout of a buffer that has its weights; @param from where the lane has that buffer from */
export function fedGraph(
  { weights, ...graph }: BuiltGraph,
  layout: BufferLayout,
  from: LaneWeights['from'],
): Pick<LaneTask, 'graph' | 'weights'> {
  return { graph, weights: { views: viewsOf(weights, layout), from } };
}

/** In memory that all lanes see, so that tokens of many megabytes are not copied for each group; the tensor itself is gone. */
function shared(tensor: HostTensor): HostTensor {
  const { data, dims } = tensor;
  const copy = new (data.constructor as Float32ArrayConstructor)(new SharedArrayBuffer(data.byteLength));
  copy.set(data as Float32Array);
  freed(tensor);
  return { data: copy, dims };
}
