import type { HostTensor } from '../contract/tensor.ts';
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
import { GroupSessions } from './group-sessions.ts';
import { runInLanes } from './lanes.ts';
import { runInShares } from './shares.ts';
import { outputName } from './stage.ts';
import { supplyFor, type SuppliedWeights } from './supply.ts';

/**
 * Runs a network by its plan, group by group, each for all images, so that every weight crosses from disk once however
 * many images there are.
 * @throws I2lError CANCELLED between groups and between their images, SESSION_FAILED, NOT_FINITE, or what the sink throws
 */
export async function runNetwork(run: NetworkRun): Promise<void> {
  const { plan, session } = run;
  if (plan.shares > 1) await runInShares(run);
  else if (plan.lanes > 1 || plan.work === 'chains') await runInLanes(run);
  else await runInTurn(plan.threadsPerLane === 'one' ? { ...run, session: { ...session, threads: 1 } } : run);
}

async function runInTurn(run: NetworkRun): Promise<void> {
  const { chunks, states } = loadChunks(run);
  const supply = supplyFor(run);
  const sessions = new GroupSessions(run);
  const join = groupJoiner(run);
  const ordered = (at: number): JoinedGroup | undefined => {
    const joined = join(at);
    if (joined) supply.order(joined.built);
    return joined;
  };
  try {
    let next = ordered(0);
    for (let at = 0; next; at++) {
      await goOn(run);
      const joined = next;
      const started = performance.now();
      const weights = await named(joined.name, supply.take());
      const waitMs = performance.now() - started;
      next = ordered(at + 1);
      await runGroup(run, joined, { chunks, states, weights, waitMs, sessions });
      supply.giveBack();
      forget(states, joined.neededLater);
    }
  } finally {
    await supply.close();
    await sessions.close();
  }
}

interface GroupRun {
  readonly chunks: readonly Chunk[];
  readonly states: readonly Map<string, HostTensor>[];
  readonly weights: SuppliedWeights;
  /** For how long its weights were waited for. */
  readonly waitMs: number;
  readonly sessions: GroupSessions;
}

async function runGroup(
  run: NetworkRun,
  joined: JoinedGroup,
  { chunks, states, weights: { feeds, wereKept }, waitMs, sessions }: GroupRun,
): Promise<void> {
  const { built, name, takes, keeps, emits } = joined;
  const started = performance.now();
  let sinkMs = 0;
  const session = await named(name, sessions.open(built));
  const createMs = performance.now() - started;
  try {
    for (const [i, chunk] of chunks.entries()) {
      if (i > 0) await goOn(run);
      const state = states[i] as Map<string, HostTensor>;
      const results = await named(name, session.run({ ...pick(state, takes), ...feeds }, built.outputs));
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
  const runMs = performance.now() - started - createMs - sinkMs;
  groupDone(run, joined, { waitMs, createMs, runMs, sinkMs, wereKept });
}
