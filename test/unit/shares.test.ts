import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TensorRange } from '../../main/contract/tensor.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import type { NetworkRun } from '../../main/offload/group.ts';
import { inShares } from '../../main/offload/plan-shares.ts';
import { planNetwork, type NetworkPlan } from '../../main/offload/planner.ts';
import { stageCosts, type Stage } from '../../main/offload/stage.ts';
import type { TraceSummary } from '../../main/offload/trace.ts';
import { WeightKeeper } from '../../main/offload/weight-keeper.ts';
import { IMAGES, type Graph, type Value } from '../../main/onnx/graph.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { rejectionOf } from './errors.ts';
import { tempFolder } from './temp.ts';
import { cancelAfterFirst, imagesOf, PLAN_REQUEST, testRun, type TestRun } from './test-run.ts';

const WIDTH = 24;
const WIDE = 60;
const IMAGES_RUN = 5;
const folder = tempFolder();
const file = join(folder, 'weights.safetensors');
const layout = ['0', '1', '2'].flatMap((i) => [
  { name: `${i}.up`, shape: [WIDE, WIDTH] },
  { name: `${i}.down`, shape: [WIDTH, WIDE] },
  { name: `${i}.bias`, shape: [WIDTH] },
]);
writeSynthetic(file, layout, { seed: 3 });

function stagesOf(path: string): readonly Stage[] {
  const checkpoint = Checkpoint.open(path);
  const weight = (name: string): TensorRange => checkpoint.tensor(name, layout.find((one) => one.name === name)?.shape ?? []);
  const hidden = { name: 'hidden', value: (g: Graph): Value => g.input('hidden', [IMAGES, 1, WIDTH]) };
  const whole: Stage = { id: 'whole', takes: [hidden], build: (g, take) => ({ state: { hidden: g.gelu(take('hidden')) } }) };
  const blocks = ['0', '1', '2'].map((i): Stage => ({
    id: `block ${i}`,
    takes: [hidden],
    parts: WIDE,
    build: (g, take) => {
      const wide = g.gelu(g.spread(take('hidden'), weight(`${i}.up`)));
      return { state: { hidden: g.residual(take('hidden'), g.collect(wide, weight(`${i}.down`), weight(`${i}.bias`))) } };
    },
  }));
  const last: Stage = { id: 'last', takes: [hidden], build: (g, take) => ({ emit: { result: g.gelu(take('hidden')) } }) };
  return [whole, ...blocks, last];
}

function planFor(stages: readonly Stage[], shares: number, changes: Partial<NetworkPlan> = {}): NetworkPlan {
  const costs = stageCosts(stages, { fusedAttention: true, weightsAs: 'fed' });
  const request = {
    ...PLAN_REQUEST,
    costs,
    images: IMAGES_RUN,
    wholeBatch: false,
    threads: 1,
  };
  const plan = { ...planNetwork(request), ...changes };
  if (shares === 1) return plan;
  const share = stageCosts(stages, { fusedAttention: true, weightsAs: 'fed', share: { index: 0, of: shares } });
  return { ...plan, shares, groups: inShares(request, { shares, imagesPerRun: plan.imagesPerRun, costs: share }) };
}

function runOf(
  plan: NetworkPlan,
  stages: readonly Stage[],
  changes: Partial<NetworkRun> = {},
): TestRun & { readonly rows: Map<number, number[]> } {
  const rows = new Map<number, number[]>();
  const sink: NetworkRun['sink'] = (_name, { data }, { first }) => void rows.set(first, [...(data as Float32Array)]);
  const load = imagesOf('hidden', IMAGES_RUN, [1, WIDTH]);
  return { ...testRun({ stages, plan, load, sink, ...changes }), rows };
}

async function resultOf(plan: NetworkPlan): Promise<number[]> {
  const { run, rows } = runOf(plan, stagesOf(file));
  await runNetwork(run);
  await run.reader.close();
  return [...rows].sort(([a], [b]) => a - b).flatMap(([, values]) => values);
}

describe('stages in shares', () => {
  test('give together what they give as wholes, in one run or in several', async () => {
    const stages = stagesOf(file);
    const wanted = await resultOf(planFor(stages, 1, { weightsAs: 'mapped' }));
    expect(wanted).toHaveLength(IMAGES_RUN * WIDTH);
    for (const [shares, imagesPerRun, threadsPerShare] of [[1, 5, 1], [1, 2, 1], [2, 5, 1], [2, 5, 2], [3, 2, 1], [5, 1, 1]] as const) {
      const got = await resultOf(planFor(stages, shares, { imagesPerRun, threadsPerShare, weightsAs: 'fed' }));
      const off = Math.max(...got.map((value, i) => Math.abs(value - (wanted[i] ?? Number.NaN))));
      expect(off, `${shares} shares, ${imagesPerRun} images a run`).toBeLessThan(1e-5);
    }
  }); // prettier-ignore

  test('stop between stages when the job is cancelled', async () => {
    const stages = stagesOf(file);
    const cancelled = runOf(planFor(stages, 2), stages);
    expect((await cancelAfterFirst(cancelled)).code).toBe('CANCELLED');
    expect(cancelled.groups).toEqual(['whole']);
  });

  test.each([1, 2])('stop between the images of a stage, too: with many of them it takes minutes (%i shares)', async (shares) => {
    const stages = stagesOf(file);
    const cancel = new AbortController();
    let taken = 0;
    const sink = (): void => {
      taken++;
      cancel.abort();
    };
    const plan = planFor(stages, shares, { imagesPerRun: 1 });
    const { run } = runOf(plan, stages, { sink, signal: cancel.signal });
    expect((await rejectionOf(runNetwork(run))).code).toBe('CANCELLED');
    expect(taken).toBe(1);
  });

  test('pass on what the sink throws', async () => {
    const stages = stagesOf(file);
    const sink = (): never => {
      throw new RangeError('full');
    };
    await expect(runNetwork(runOf(planFor(stages, 2), stages, { sink }).run)).rejects.toThrow('full');
  });

  test.each([
    ['in shares', 2],
    ['as wholes', 1],
  ])('a file that became shorter is named, with the stage, %s', async (_how, shares) => {
    const cut = join(folder, `cut-${shares}.safetensors`);
    writeSynthetic(cut, layout, { seed: 3 });
    const stages = stagesOf(cut);
    const plan = planFor(stages, shares);
    const { offset, length } = Checkpoint.open(cut).tensor('1.down', [WIDTH, WIDE]);
    truncateSync(cut, offset + length / 2);
    const error = await rejectionOf(runNetwork(runOf({ ...plan, weightsAs: 'fed' }, stages).run));
    expect(error).toMatchObject({ code: 'FILE_UNREADABLE', fields: { file: cut } });
    expect(error.message).toContain('was longer when the job began');
    if (shares > 1) expect(error.fields['stage']).toBe('block 1');
  });
});

describe('weights that stay in memory', () => {
  interface Ran {
    readonly trace: TraceSummary;
    readonly rows: ReadonlyMap<number, readonly number[]>;
  }

  async function ran(keeper: WeightKeeper, room: number, shares: number, changes: Partial<NetworkPlan> = {}): Promise<Ran> {
    const stages = stagesOf(file);
    keeper.begin(room);
    const { run, rows } = runOf(planFor(stages, shares, { weightsAs: 'fed', ...changes }), stages, { keeper });
    await runNetwork(run);
    await run.reader.close();
    return { trace: run.trace.summary(), rows };
  }

  const room = 2 ** 20;
  test.each([
    ['in shares', 2],
    ['as wholes', 1],
  ])('are not read again, however many images a run has, %s', async (_how, shares) => {
    const keeper = new WeightKeeper();
    const runs = [await ran(keeper, room, shares), await ran(keeper, room, shares), await ran(keeper, room, shares, { imagesPerRun: 2 })]; // prettier-ignore
    expect(runs.map(({ trace }) => trace.weightBytes > 0)).toEqual([true, false, false]);
    expect(runs.map(({ trace }) => trace.readAheadBytes > 0)).toEqual([true, false, false]);
    expect(runs[1]?.rows).toEqual(runs[0]?.rows);
    expect(runs[1]?.trace.stages.filter(({ wereKept }) => wereKept)).toHaveLength(keeper.size);
  });

  test('with room for two of three blocks, the first two stay, and the last is read each time', async () => {
    const all = new WeightKeeper();
    const whole = await ran(all, room, 2);
    const keeper = new WeightKeeper();
    for (let i = 0; i < 3; i++) {
      const { trace, rows } = await ran(keeper, (2.5 * all.bytes) / all.size, 2);
      const read = trace.stages.filter(({ weightBytes }) => weightBytes > 0).map(({ stages }) => stages);
      expect(read).toEqual(i === 0 ? ['block 0', 'block 1', 'block 2'] : ['block 2']);
      expect(rows).toEqual(whole.rows);
    }
  });

  test('none of a file that failed to be read', async () => {
    const cut = join(folder, 'cut-and-kept.safetensors');
    writeSynthetic(cut, layout, { seed: 3 });
    const stages = stagesOf(cut);
    truncateSync(cut, Checkpoint.open(cut).tensor('1.up', [WIDE, WIDTH]).offset);
    const keeper = new WeightKeeper();
    keeper.begin(room);
    expect((await rejectionOf(runNetwork(runOf(planFor(stages, 2), stages, { keeper }).run))).code).toBe('FILE_UNREADABLE');
    expect(keeper.size).toBe(1);
  });
});
