import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TensorRange } from '../../main/contract/tensor.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import type { NetworkRun } from '../../main/offload/group.ts';
import { graphWork, runInLanes } from '../../main/offload/lanes.ts';
import { planNetwork, type NetworkPlan } from '../../main/offload/planner.ts';
import { Reader } from '../../main/offload/reader.ts';
import { stageCosts, type Stage } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import { IMAGES, type Graph, type Value } from '../../main/onnx/graph.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { mulberry32, writeSynthetic } from '../../main/weights/synthetic.ts';
import { rejectionOf } from './errors.ts';
import { tempFolder } from './temp.ts';

const WIDTH = 96;
const MODULES = 12;
const folder = tempFolder();
const file = join(folder, 'weights.safetensors');
const layout = Array.from({ length: MODULES }, (_, i) => ({ name: `m.${i}`, shape: [WIDTH * (1 + (i % 3)), WIDTH] }));
writeSynthetic(file, layout, { seed: 5 });
const checkpoint = Checkpoint.open(file);
const weight = (i: number): TensorRange => checkpoint.tensor(`m.${i}`, layout[i]?.shape ?? []);

const port = (name: string) => ({ name, value: (g: Graph): Value => g.input(name, [IMAGES, WIDTH]) });

/** Like a decoder with a residual: every fourth stage changes a state that the three behind it take. */
const stages: readonly Stage[] = layout.map(({ name }, i) =>
  i % 4 === 0
    ? { id: name, takes: [port('x')], build: (g, take) => ({ state: { residual: g.linear(take('x'), shrunk(i)) } }) }
    : {
        id: name,
        takes: [port('x'), port('residual')],
        build: (g, take) => ({ emit: { [name]: g.store(g.linear(g.add(take('x'), take('residual')), weight(i)), 'BF16') } }),
      },
);

function shrunk(i: number): TensorRange {
  return { ...weight(i), shape: [WIDTH, WIDTH], length: 2 * WIDTH * WIDTH };
}

function planFor(lanes: number, joined: number): NetworkPlan {
  const costs = stageCosts(stages);
  const plan = planNetwork({
    network: 'test',
    costs,
    images: 2,
    budget: 2 ** 30,
    baseline: 0,
    wholeBatch: true,
    threads: lanes,
    feeds: true,
  });
  // So few bytes would not be given lanes, and would be one group.
  const groups = Array.from({ length: Math.ceil(MODULES / joined) }, (_, i) => {
    const waits = costs.slice(i * joined, (i + 1) * joined).map(({ waitsFor }) => Math.floor(waitsFor / joined));
    const waitsFor = Math.max(-1, ...waits.filter((group) => group < i));
    return { first: i * joined, count: Math.min(joined, MODULES - i * joined), waitsFor, weightBytes: 1, peakBytes: 1 };
  });
  return { ...plan, lanes, groups };
}

interface Seen {
  readonly name: string;
  readonly values: readonly number[];
}

function runOf(plan: NetworkPlan, changes: Partial<NetworkRun> = {}): { run: NetworkRun; seen: Seen[]; groups: string[] } {
  const random = mulberry32(9);
  const data = Float32Array.from({ length: 2 * WIDTH }, () => 2 * random() - 1);
  const [seen, groups, trace]: [Seen[], string[], Trace] = [[], [], new Trace()];
  const run: NetworkRun = {
    stages,
    plan,
    session: { device: 'cpu', threads: 2 },
    load: () => ({ x: { data, dims: [2, WIDTH] } }),
    sink: (name, tensor) => void seen.push({ name, values: [...(tensor.data as Uint16Array)] }),
    onGroup: (_group, stage) => void groups.push(stage),
    signal: new AbortController().signal,
    reader: new Reader(trace),
    trace,
    ...changes,
  };
  return { run, seen, groups };
}

async function resultsOf(lanes: number, joined = 1): Promise<{ seen: Seen[]; groups: string[] }> {
  const { run, seen, groups } = runOf(planFor(lanes, joined));
  await runNetwork(run);
  return { seen, groups };
}

describe('lanes', () => {
  test('give the same values in the same order, however many there are', async () => {
    const one = await resultsOf(1);
    expect(one.seen.map(({ name }) => name)).toEqual(layout.map(({ name }) => name).filter((_, i) => i % 4 !== 0));
    expect(one.seen.every(({ values }) => values.some((value) => value !== 0))).toBe(true);
    for (const lanes of [2, 3, 5]) expect(await resultsOf(lanes), `${lanes} lanes`).toEqual(one);
    for (const joined of [2, 3, 4]) expect((await resultsOf(2, joined)).seen, `${joined} joined`).toEqual(one.seen);
  });

  test('stop between groups when the job is cancelled', async () => {
    const cancelled = new AbortController();
    const { run, groups } = runOf(planFor(2, 1), { signal: cancelled.signal });
    const onGroup: NetworkRun['onGroup'] = (group, stage) => {
      run.onGroup(group, stage);
      cancelled.abort();
    };
    expect((await rejectionOf(runNetwork({ ...run, onGroup }))).code).toBe('CANCELLED');
    expect(groups.length).toBeLessThan(MODULES);
  });

  test('pass on what the sink throws, and take nothing more', async () => {
    let taken = 0;
    const { run } = runOf(planFor(2, 1), {
      sink: () => {
        taken++;
        throw new RangeError('full');
      },
    });
    await expect(runNetwork(run)).rejects.toThrow('full');
    expect(taken).toBe(1);
  });

  test('name the stage that failed', async () => {
    const broken = stages.with(6, {
      ...(stages[6] as Stage),
      build: (g, take) => ({ emit: { lost: g.linear(take('x'), { ...weight(6), file: join(folder, 'gone.safetensors') }) } }),
    });
    const { run, groups } = runOf(planFor(3, 1), { stages: broken });
    const error = await rejectionOf(runNetwork(run));
    expect(error).toMatchObject({ code: 'FILE_NOT_FOUND', fields: { stage: 'm.6', file: join(folder, 'gone.safetensors') } });
    expect(groups).toEqual(layout.slice(0, 6).map(({ name }) => name));
  });

  test('that stop are an error with its reason, and nobody waits for ever', async () => {
    const dies = 'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(3));';
    const { run } = runOf(planFor(2, 1));
    const error = await rejectionOf(runInLanes(run, graphWork(run, new URL(`data:text/javascript,${dies}`))));
    expect(error).toMatchObject({ code: 'INTERNAL', fields: { stage: 'm.0' } });
    expect(error.message).toContain('code 3');
  });
});
