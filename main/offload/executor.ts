import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import { Session, type SessionOptions } from '../onnx/runtime.ts';
import { chunksOf, forget, freed, goOn, groupJoiner, named, pick, type Chunk, type JoinedGroup, type NetworkRun } from './group.ts';
import { runInLanes } from './lanes.ts';
import { modelKey, SessionCache } from './session-cache.ts';
import { runInShares } from './shares.ts';
import { outputName } from './stage.ts';
import { supplyFor } from './supply.ts';

/**
 * Runs a network by its plan: each group of stages is made once, run for all images, and let go, so that
 * every weight crosses from disk once however many images there are.
 * @throws I2lError CANCELLED between groups, SESSION_FAILED, NOT_FINITE, or what the sink throws
 */
export async function runNetwork(run: NetworkRun): Promise<void> {
  const { plan, session } = run;
  if (plan.shares > 1) await runInShares(run);
  else if (plan.lanes > 1) await runInLanes(run);
  else await runInTurn(plan.threadsPerLane === 'one' ? { ...run, session: { ...session, threads: 1 } } : run);
}

async function runInTurn(run: NetworkRun): Promise<void> {
  const { plan } = run;
  const chunks = chunksOf(plan.images, plan.imagesPerRun);
  const states = chunks.map((chunk) => new Map(Object.entries(run.load(chunk))));
  const supply = supplyFor(plan, run.reader);
  const sessions = new GroupSessions(run);
  const join = groupJoiner(run);
  try {
    let next = join(0);
    if (next) supply.order(next.built);
    for (let at = 0; next; at++) {
      await goOn(run);
      const joined = next;
      const started = performance.now();
      const weights = await named(joined.name, supply.take());
      const waitMs = performance.now() - started;
      next = join(at + 1);
      if (next) supply.order(next.built);
      await runGroup(run, joined, { chunks, states, weights, waitMs, sessions });
      supply.giveBack();
      forget(states, joined.neededLater);
    }
  } finally {
    await supply.close();
    await sessions.close();
  }
}

/** A session for each group; groups whose weights are fed share those of their kind. */
class GroupSessions {
  readonly #options: SessionOptions;
  readonly #isShared: boolean;
  readonly #shared: SessionCache;

  constructor({ session, plan }: NetworkRun) {
    this.#options = session;
    this.#isShared = plan.weightsAs === 'fed';
    this.#shared = new SessionCache(session);
  }

  open(built: BuiltGraph): Promise<Session> {
    return this.#isShared ? this.#shared.get(modelKey(built), () => built) : Session.create(built, this.#options);
  }

  async release(session: Session): Promise<void> {
    if (!this.#isShared) await session.release();
  }

  close(): Promise<void> {
    return this.#shared.close();
  }
}

interface GroupRun {
  readonly chunks: readonly Chunk[];
  readonly states: readonly Map<string, HostTensor>[];
  readonly weights: TensorMap;
  /** For how long its weights were waited for. */
  readonly waitMs: number;
  readonly sessions: GroupSessions;
}

async function runGroup(
  run: NetworkRun,
  { built, group, name, takes, keeps, emits }: JoinedGroup,
  { chunks, states, weights, waitMs, sessions }: GroupRun,
): Promise<void> {
  const started = performance.now();
  let sinkMs = 0;
  const session = await named(name, sessions.open(built));
  const created = performance.now();
  try {
    for (const [i, chunk] of chunks.entries()) {
      const state = states[i] as Map<string, HostTensor>;
      const results = await named(name, session.run({ ...pick(state, takes), ...weights }, built.outputs));
      const replaced = keeps.flatMap((key) => state.get(key) ?? []);
      for (const key of keeps) state.set(key, results[outputName(key)] as HostTensor);
      const before = performance.now();
      for (const key of emits) run.sink(key, results[key] as HostTensor, chunk);
      sinkMs += performance.now() - before;
      for (const tensor of [...replaced, ...emits.map((key) => results[key] as HostTensor)]) freed(tensor);
    }
  } finally {
    await sessions.release(session);
  }
  const { network } = run.plan;
  const { weightBytes } = group;
  const runMs = performance.now() - created - sinkMs;
  run.trace.add({ network, stages: name, weightBytes, waitMs, createMs: created - started, runMs, sinkMs });
  run.onGroup(group, name);
}
