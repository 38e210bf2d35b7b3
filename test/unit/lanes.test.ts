import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TensorRange } from '../../main/contract/tensor.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import type { NetworkRun } from '../../main/offload/group.ts';
import { graphWork, runInLanes } from '../../main/offload/lanes.ts';
import { planNetwork, type NetworkPlan } from '../../main/offload/planner.ts';
import { stageCosts, type Stage } from '../../main/offload/stage.ts';
import { IMAGES, type Graph, type Value } from '../../main/onnx/graph.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { rejectionOf } from './errors.ts';
import { tempFolder } from './temp.ts';
import { cancelAfterFirst, imagesOf, PLAN_REQUEST, testRun, type TestRun } from './test-run.ts';

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
    ...PLAN_REQUEST,
    costs,
    images: 2,
    wholeBatch: true,
    threads: lanes,
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

function runOf(plan: NetworkPlan, changes: Partial<NetworkRun> = {}): TestRun & { readonly seen: Seen[] } {
  const seen: Seen[] = [];
  const sink: NetworkRun['sink'] = (name, tensor) => void seen.push({ name, values: [...(tensor.data as Uint16Array)] });
  return { ...testRun({ stages, plan, load: imagesOf('x', 2, [WIDTH]), sink, ...changes }), seen };
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
    const cancelled = runOf(planFor(2, 1));
    expect((await cancelAfterFirst(cancelled)).code).toBe('CANCELLED');
    expect(cancelled.groups.length).toBeLessThan(MODULES);
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
