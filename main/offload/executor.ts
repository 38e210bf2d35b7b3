import { setImmediate } from 'node:timers/promises';
import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import { graphOptionsFor, Session, type SessionOptions } from '../onnx/runtime.ts';
import type { NetworkPlan, StageGroup } from './planner.ts';
import type { Reader } from './reader.ts';
import { joinStages, neededAfter, outputName, type Stage, type StageGraph } from './stage.ts';
import type { Trace } from './trace.ts';

/** Images of one run: the first one's index, and how many. */
export interface Chunk {
  readonly first: number;
  readonly count: number;
}

export interface NetworkRun {
  readonly stages: readonly Stage[];
  readonly plan: NetworkPlan;
  readonly session: SessionOptions;
  /** The state that the first stages take, for some images. */
  readonly load: (chunk: Chunk) => TensorMap;
  /** Takes what a stage emits. */
  readonly sink: (name: string, tensor: HostTensor, chunk: Chunk) => void;
  readonly onGroup: (group: StageGroup, stage: string) => void;
  readonly signal: AbortSignal;
  readonly reader: Reader;
  readonly trace: Trace;
}

/**
 * Runs a network by its plan: each group of stages is made once, run for all images, and let go, so that
 * every weight crosses from disk once however many images there are.
 * @throws I2lError CANCELLED between groups, SESSION_FAILED, NOT_FINITE, or what the sink throws
 */
export async function runNetwork(run: NetworkRun): Promise<void> {
  const { plan, reader } = run;
  const chunks = chunksOf(plan.images, plan.imagesPerRun);
  const states = chunks.map((chunk) => new Map(Object.entries(run.load(chunk))));
  let next = joinGroup(run, plan.groups[0]);
  for (const [at, group] of plan.groups.entries()) {
    await setImmediate(); // Lets a cancel message in.
    if (run.signal.aborted) throw new I2lError('CANCELLED', 'The job was cancelled.');
    const joined = next;
    next = joinGroup(run, plan.groups[at + 1]);
    if (next) reader.warm(next.graph.cost().weights);
    if (joined) await runGroup(run, group, joined, chunks, states);
    forget(states, neededAfter(run.stages, group.first + group.count - 1));
  }
}

/** Pixels, for one, are read once and would lie there for the rest of the run. */
function forget(states: readonly Map<string, HostTensor>[], needed: ReadonlySet<string>): void {
  for (const state of states) for (const name of state.keys()) if (!needed.has(name)) state.delete(name);
}

function joinGroup({ stages, session }: NetworkRun, group: StageGroup | undefined): StageGraph | undefined {
  if (!group) return undefined;
  const members = stages.slice(group.first, group.first + group.count);
  return joinStages(members, neededAfter(stages, group.first + group.count - 1), graphOptionsFor(session.device));
}

async function runGroup(
  run: NetworkRun,
  group: StageGroup,
  joined: StageGraph,
  chunks: readonly Chunk[],
  states: readonly Map<string, HostTensor>[],
): Promise<void> {
  const name = nameOf(run.stages, group);
  const started = performance.now();
  let sinkMs = 0;
  const session = await named(name, Session.create(joined.graph.build(), run.session));
  const created = performance.now();
  try {
    for (const [i, chunk] of chunks.entries()) {
      const state = states[i] as Map<string, HostTensor>;
      const results = await named(name, session.run(pick(state, joined.takes)));
      for (const key of joined.keeps) state.set(key, results[outputName(key)] as HostTensor);
      const before = performance.now();
      for (const key of joined.emits) run.sink(key, results[key] as HostTensor, chunk);
      sinkMs += performance.now() - before;
    }
  } finally {
    await session.release();
  }
  const runMs = performance.now() - created - sinkMs;
  run.trace.add({
    network: run.plan.network,
    stages: name,
    weightBytes: group.weightBytes,
    createMs: created - started,
    runMs,
    sinkMs,
  });
  run.onGroup(group, name);
}

/** Says which stage a failure belongs to. */
async function named<T>(stage: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const known = I2lError.from(error);
    throw new I2lError(known.code, `${stage}: ${known.message}`, { ...known.fields, stage }, known.cause);
  }
}

function pick(state: ReadonlyMap<string, HostTensor>, names: readonly string[]): TensorMap {
  return Object.fromEntries(
    names.map((name) => {
      const tensor = state.get(name);
      if (!tensor) throw new I2lError('INTERNAL', `the state "${name}" was never given.`, { name });
      return [name, tensor];
    }),
  );
}

function chunksOf(images: number, perRun: number): Chunk[] {
  return Array.from({ length: Math.ceil(images / perRun) }, (_, i) => ({
    first: i * perRun,
    count: Math.min(perRun, images - i * perRun),
  }));
}

function nameOf(stages: readonly Stage[], { first, count }: StageGroup): string {
  const [from = '', to = ''] = [stages[first]?.id, stages[first + count - 1]?.id];
  return count === 1 ? from : `${from} .. ${to}`;
}
