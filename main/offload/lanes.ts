import type { HostTensor } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import { freed, goOn, groupDone, groupJoiner, named, pick, type JoinedGroup, type NetworkRun } from './group.ts';
import type { LaneResult, LaneSetup, LaneTask, LaneWeights } from './lane-thread.ts';
import { outputName } from './stage.ts';
import { Threads } from './threads.ts';
import { layOut, viewsOf, type BufferLayout } from './weight-buffer.ts';

/** Groups that are asked for ahead, for each lane: one is worked on, one waits while its bytes are read. */
const AHEAD = 2;

export const LANE_SCRIPT = new URL('./lane-thread.ts', import.meta.url);

/**
 * Runs groups of stages side by side, each on a thread of its own: the runtime casts a group's weights on one
 * thread however many it is given. What a group emits is taken in the groups' order, so that nothing depends on
 * which lane was faster. All images go in one run.
 * @param script what a lane's thread runs
 * @throws I2lError as runNetwork does; INTERNAL if a lane's thread stops
 */
export async function runInLanes(run: NetworkRun, script = LANE_SCRIPT): Promise<void> {
  const { plan, reader } = run;
  const state = new Map(Object.entries(run.load({ first: 0, count: plan.images })).map(([name, value]) => [name, shared(value)]));
  const lanes = new Threads(script, plan.lanes, { threads: 1 } satisfies LaneSetup);
  const join = groupJoiner(run);
  const taken: Promise<void>[] = [];
  try {
    for (let at = 0, joined = join(0); joined; joined = join(++at)) {
      await taken[Math.max(at - AHEAD * plan.lanes, joined.group.waitsFor)];
      await goOn(run);
      reader.warm(joined.built.weights.map(({ range }) => range));
      const layout = layOut(joined.built.weights);
      const task: LaneTask = { ...fedGraph(joined.built, layout, layout), state: pick(state, joined.takes) };
      const result = named(joined.name, lanes.perform(task) as Promise<LaneResult>);
      taken.push(inOrder(taken.at(-1), result, take.bind(undefined, run, joined, state)));
    }
    await taken.at(-1);
  } finally {
    await lanes.close();
  }
}

/** Takes a result once all before it are taken. A failure that nobody waits for yet is not an unhandled one. */
function inOrder(before: Promise<void> | undefined, result: Promise<LaneResult>, use: (result: LaneResult) => void): Promise<void> {
  const taken = Promise.all([result, before]).then(([ready]) => use(ready));
  taken.catch(() => undefined);
  return taken;
}

function take(run: NetworkRun, joined: JoinedGroup, state: Map<string, HostTensor>, result: LaneResult): void {
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
