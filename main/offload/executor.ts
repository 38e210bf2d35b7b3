import type { HostTensor } from '../contract/tensor.ts';
import { Session } from '../onnx/runtime.ts';
import { freed, goOn, groupJoiner, named, pick, type Chunk, type JoinedGroup, type NetworkRun } from './group.ts';
import { runInLanes } from './lanes.ts';
import { outputName } from './stage.ts';

/**
 * Runs a network by its plan: each group of stages is made once, run for all images, and let go, so that
 * every weight crosses from disk once however many images there are.
 * @throws I2lError CANCELLED between groups, SESSION_FAILED, NOT_FINITE, or what the sink throws
 */
export async function runNetwork(run: NetworkRun): Promise<void> {
  const { plan, session } = run;
  if (plan.lanes > 1) await runInLanes(run);
  else await runInTurn(plan.threadsPerLane === 'one' ? { ...run, session: { ...session, threads: 1 } } : run);
}

async function runInTurn(run: NetworkRun): Promise<void> {
  const { plan, reader } = run;
  const chunks = chunksOf(plan.images, plan.imagesPerRun);
  const states = chunks.map((chunk) => new Map(Object.entries(run.load(chunk))));
  const join = groupJoiner(run);
  let next = join(0);
  for (let at = 0; next; at++) {
    await goOn(run);
    const joined = next;
    next = join(at + 1);
    if (next) reader.warm(next.graph.cost().weights);
    await runGroup(run, joined, chunks, states);
    forget(states, joined.neededLater);
  }
}

/** Pixels, for one, are read once and would lie there for the rest of the run. */
function forget(states: readonly Map<string, HostTensor>[], needed: ReadonlySet<string>): void {
  for (const state of states) {
    for (const [name, tensor] of state) {
      if (needed.has(name)) continue;
      state.delete(name);
      freed(tensor);
    }
  }
}

async function runGroup(
  run: NetworkRun,
  { graph, group, name, takes, keeps, emits }: JoinedGroup,
  chunks: readonly Chunk[],
  states: readonly Map<string, HostTensor>[],
): Promise<void> {
  const started = performance.now();
  let sinkMs = 0;
  const session = await named(name, Session.create(graph.build(), run.session));
  const created = performance.now();
  try {
    for (const [i, chunk] of chunks.entries()) {
      const state = states[i] as Map<string, HostTensor>;
      const results = await named(name, session.run(pick(state, takes)));
      const replaced = keeps.flatMap((key) => state.get(key) ?? []);
      for (const key of keeps) state.set(key, results[outputName(key)] as HostTensor);
      const before = performance.now();
      for (const key of emits) run.sink(key, results[key] as HostTensor, chunk);
      sinkMs += performance.now() - before;
      for (const tensor of [...replaced, ...emits.map((key) => results[key] as HostTensor)]) freed(tensor);
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

function chunksOf(images: number, perRun: number): Chunk[] {
  return Array.from({ length: Math.ceil(images / perRun) }, (_, i) => ({
    first: i * perRun,
    count: Math.min(perRun, images - i * perRun),
  }));
}
