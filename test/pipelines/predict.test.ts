import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import fc from 'fast-check';
import type { TensorRange } from '../../main/contract/tensor.ts';
import { planNetwork, type PlanRequest } from '../../main/offload/planner.ts';
import { groupSeconds, simulate, type Machine } from '../../main/offload/simulate.ts';
import type { StageCost } from '../../main/offload/stage.ts';
import { MACHINES, MEASURED } from '../../main/pipelines/machines.ts';
import { predictJob, type PlanJob } from '../../main/pipelines/plan.ts';
import { sparseModel } from '../models/sparse-models.ts';
import { tempFolder } from '../unit/temp.ts';

const folder = tempFolder();
const models = join(folder, 'models');
const eightBit = { folder: join(folder, '8-bit') };
beforeAll(() => {
  for (const id of ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-style']) sparseModel(join(models, id, 'model.safetensors'), id);
});

const job = (images: number): PlanJob => ({
  ...{ models, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }], dtype: 'bf16', memory: 1.5 * 2 ** 30, images },
});

function secondsOf(images: number, machine: Machine, extra: Partial<PlanJob> = {}): Record<string, number> {
  return Object.fromEntries(
    predictJob({ ...job(images), ...extra }, [machine]).flatMap(({ networks }) =>
      networks.map(({ network, seconds }) => [network, seconds]),
    ),
  );
}

describe('the published models', () => {
  // From test/bench/RESULTS.md.
  test.each([
    [1, { siglip2: 4.7, dinov3: 9.4, style: 0.64 }],
    [3, { siglip2: 13.8, dinov3: 25.4, style: 0.86 }],
  ])('with %i images, on the machine that was measured, within 25 %%', (images, measured) => {
    const predicted = secondsOf(images, MEASURED);
    for (const [network, seconds] of Object.entries(measured)) {
      expect(Math.abs((predicted[network] ?? 0) / seconds - 1), `${network}: ${predicted[network]} s`).toBeLessThan(0.25);
    }
  });

  test.each([
    [1, 6.5],
    [3, 16.5],
  ])('with %i images in 8 bits, both encoders together, within 25 %%', (images, measured) => {
    const { siglip2 = 0, dinov3 = 0 } = secondsOf(images, MEASURED, { eightBit });
    expect(Math.abs((siglip2 + dinov3) / measured - 1), `${siglip2} + ${dinov3} s`).toBeLessThan(0.25);
  });

  test('8 bits change nothing where another device computes', () => {
    const gpus = MACHINES.filter(({ device }) => device);
    expect(gpus.length).toBeGreaterThan(0);
    for (const gpu of gpus) expect(secondsOf(3, gpu, { eightBit })).toEqual(secondsOf(3, gpu));
    expect(secondsOf(3, MEASURED, { eightBit })).not.toEqual(secondsOf(3, MEASURED));
  });

  test('a slower disk never makes it faster, and a hard disk takes what it takes to read them', () => {
    const [, hdd, sata, nvme] = MACHINES.map((machine) => Object.values(secondsOf(1, machine)).reduce((sum, s) => sum + s, 0));
    expect(hdd).toBeGreaterThan(20.5e9 / 0.15e9);
    expect(hdd).toBeGreaterThan(sata!);
    expect(sata).toBeGreaterThan(nvme!);
  });
});

const megabyte = 1 << 20;
const stage = (id: number, bytes: number, flops: number, waitsFor: number): StageCost => ({
  ...{
    id: `${id}`,
    waitsFor,
    weights: [
      { name: `${id}`, dtype: 'BF16', shape: [bytes / 2], file: 'x', offset: id * 1000 * megabyte, length: bytes } as TensorRange,
    ],
  },
  ...{ flops: { fixed: 0, perImage: flops }, live: [], inputBytes: 0, stateBytes: 0, results: { fixed: 0, perImage: 0 } },
});

describe('any plan', () => {
  const arbitrary = fc.record({
    sizes: fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 64 * megabyte }), flops: fc.integer({ min: 1, max: 1e10 }) }), {
      minLength: 1,
      maxLength: 40,
    }),
    lanes: fc.integer({ min: 1, max: 8 }),
    independent: fc.boolean(),
    images: fc.integer({ min: 1, max: 8 }),
    disk: fc.double({ min: 1e6, max: 1e10, noNaN: true }),
  });

  test('takes no less than its reading, and no less than its work on all cores; more of anything never takes longer', () => {
    fc.assert(
      fc.property(arbitrary, ({ sizes, lanes, independent, images, disk }) => {
        const costs = sizes.map(({ bytes, flops }, i) => stage(i, bytes, flops, independent ? -1 : i - 1));
        const request: PlanRequest = {
          network: 'x',
          costs,
          images,
          budget: 2 ** 40,
          baseline: 0,
          wholeBatch: independent,
          threads: lanes,
          feeds: true,
        };
        const plan = planNetwork(request);
        const machine = { ...MEASURED, diskBytesPerSecond: disk, cores: Math.max(1, plan.lanes) };
        const { seconds, waitingSeconds } = simulate(costs, plan, machine);
        const read = plan.weightBytes / disk;
        expect(seconds).toBeGreaterThanOrEqual(read * 0.999999);
        expect(seconds).toBeGreaterThanOrEqual((0.999999 * plan.flops) / machine.flopsPerSecond);
        expect(waitingSeconds).toBeLessThanOrEqual(seconds * 1.000001);
        const faster = { ...machine, diskBytesPerSecond: 2 * disk, flopsPerSecond: 2 * machine.flopsPerSecond };
        expect(simulate(costs, plan, faster).seconds).toBeLessThanOrEqual(seconds * 1.000001);
      }),
      { numRuns: 200 },
    );
  });
});

test('weights as they are and weights in bytes take as long in one group as one by one', () => {
  const FLOPS = 1e12;
  const cast = stage(0, 40 * megabyte, FLOPS, -1);
  const [range] = cast.weights;
  const inBytes = { ...cast, weights: [{ name: 'bytes', shape: [], file: 'x', offset: 0, length: (range?.length ?? 0) / 2 }] };
  const secondsOf = (costs: readonly StageCost[]): number => {
    const request = { network: 'x', costs, images: 1, budget: 2 ** 40, baseline: 0, wholeBatch: false, threads: 2, feeds: true };
    const plan = planNetwork(request);
    expect(plan.groups).toHaveLength(1);
    return groupSeconds(costs, plan, MEASURED)[0] as number;
  };
  expect(secondsOf([inBytes])).toBeLessThan(0.5 * secondsOf([cast]));
  expect(secondsOf([cast, inBytes])).toBeCloseTo(secondsOf([cast]) + secondsOf([inBytes]), 6);
});
