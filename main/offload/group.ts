import { setImmediate } from 'node:timers/promises';
import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import type { EightBitWeights } from '../onnx/eight-bit.ts';
import type { BuiltGraph, Share } from '../onnx/graph.ts';
import { runsOf, type Run } from '../onnx/runs.ts';
import { graphOptionsFor, type SessionOptions } from '../onnx/runtime.ts';
import type { NetworkPlan, StageGroup } from './planner.ts';
import type { Reader } from './reader.ts';
import { joinStages, neededAfter, type Stage, type StageGraph } from './stage.ts';
import type { StageTrace, Trace } from './trace.ts';
import type { WeightKeeper } from './weight-keeper.ts';

/** Images of one run. */
export type Chunk = Run;

export interface NetworkRun {
  readonly stages: readonly Stage[];
  readonly plan: NetworkPlan;
  readonly session: SessionOptions;
  /** Copies of weights that its products take. */
  readonly eightBit?: EightBitWeights | undefined;
  /** The state that the first stages take, for some images; the run does away with it. */
  readonly load: (chunk: Chunk) => TensorMap;
  /** Takes what a stage emits, group by group in their order; the memory is given back when it returns. */
  readonly sink: (name: string, tensor: HostTensor, chunk: Chunk) => void;
  /** @param waited seconds in which nothing was computed because its weights had not come; of lanes, as many as each waited */
  readonly onGroup: (group: StageGroup, stage: string, waited: number) => void;
  readonly signal: AbortSignal;
  readonly reader: Reader;
  readonly trace: Trace;
  /** Takes weights that are fed, but for those of lanes; absent where nobody comes back for them. */
  readonly keeper?: WeightKeeper | undefined;
}

/** A group of stages as it is run. */
export interface JoinedGroup extends Pick<StageGraph, 'takes' | 'keeps' | 'emits' | 'hasParts'> {
  readonly built: BuiltGraph;
  readonly group: StageGroup;
  /** Its first and last stage. */
  readonly name: string;
  /** State that a group behind it takes. */
  readonly neededLater: ReadonlySet<string>;
}

/** Joins the stages of a plan's groups, one group at a time. @param share of those that have parts */
export function groupJoiner(
  { stages, plan, session, eightBit }: NetworkRun,
  share?: Share,
): (at: number) => JoinedGroup | undefined {
  const needed = neededAfter(stages);
  const options = { ...graphOptionsFor(session.device), eightBit, weightsAs: plan.weightsAs, share };
  return (at) => {
    const group = plan.groups[at];
    if (!group) return undefined;
    const neededLater = needed(group.first + group.count - 1);
    const members = stages.slice(group.first, group.first + group.count);
    const { graph, takes, keeps, emits, hasParts } = joinStages(members, neededLater, options);
    return { takes, keeps, emits, hasParts, built: graph.build(), group, name: groupName(members), neededLater };
  };
}

/** Of a group's stages, in their order. */
export function groupName(members: readonly Pick<Stage, 'id'>[]): string {
  const [from = '', to = ''] = [members[0]?.id, members.at(-1)?.id];
  return members.length === 1 ? from : `${from} .. ${to}`;
}

/** Lets a cancel message in first. @throws I2lError CANCELLED */
export async function goOn({ signal }: Pick<NetworkRun, 'signal'>): Promise<void> {
  await setImmediate();
  if (signal.aborted) throw new I2lError('CANCELLED', 'The job was cancelled.');
}

/** Says which stage a failure belongs to. */
export async function named<T>(stage: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const known = I2lError.from(error);
    throw new I2lError(known.code, `${stage}: ${known.message}`, { ...known.fields, stage }, known.cause);
  }
}

export function pick(state: ReadonlyMap<string, HostTensor>, names: readonly string[]): TensorMap {
  return Object.fromEntries(
    names.map((name) => {
      const tensor = state.get(name);
      if (!tensor) throw new I2lError('INTERNAL', `the state "${name}" was never given.`, { name });
      return [name, tensor];
    }),
  );
}

/** Gives a tensor's memory back at once: the garbage collector lets hundreds of megabytes gather. */
export function freed({ data: { buffer } }: HostTensor): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** What a group took; of one whose weights an earlier job has left, no bytes were read. */
export type GroupTimes = Pick<StageTrace, 'waitMs' | 'createMs' | 'runMs' | 'sinkMs' | 'wereKept'>;

/** A group has run, and what it emits is taken: the trace and whoever counts progress are told. */
export function groupDone(run: NetworkRun, { group, name }: Pick<JoinedGroup, 'group' | 'name'>, times: GroupTimes): void {
  const weightBytes = times.wereKept ? 0 : group.weightBytes;
  run.trace.add({ network: run.plan.network, stages: name, weightBytes, ...times });
  run.onGroup(group, name, times.waitMs / 1000 / run.plan.lanes);
}

/** The images of a plan, run by run, each with the state that the first stages take. */
export function loadChunks({ plan, load }: Pick<NetworkRun, 'plan' | 'load'>): {
  readonly chunks: readonly Chunk[];
  readonly states: readonly Map<string, HostTensor>[];
} {
  const chunks = runsOf(plan.images, plan.imagesPerRun);
  return { chunks, states: chunks.map((chunk) => new Map(Object.entries(load(chunk)))) };
}

/**
 * Pixels, for one, are read once and would lie there for the rest of the run.
 * @returns whether some of it lies in shared memory, which garbage collectors alone give back
 */
export function forget(states: readonly Map<string, HostTensor>[], needed: ReadonlySet<string>): boolean {
  let isShared = false;
  for (const state of states) {
    for (const [name, tensor] of state) {
      if (needed.has(name)) continue;
      state.delete(name);
      freed(tensor);
      isShared ||= tensor.data.buffer instanceof SharedArrayBuffer;
    }
  }
  return isShared;
}
