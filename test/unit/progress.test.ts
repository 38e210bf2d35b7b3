import { expect, test } from 'vitest';
import { paced, ProgressMeter, type ExpectedGroup } from '../../main/offload/progress.ts';
import type { NetworkPlan, StageGroup } from '../../main/offload/planner.ts';

const group = (first: number, count: number, weightBytes: number): StageGroup => ({
  ...{ first, count, weightBytes, waitsFor: first - 1, peakBytes: 0 },
});

function planOf(network: string, groups: readonly StageGroup[]): NetworkPlan {
  const weightBytes = groups.reduce((sum, one) => sum + one.weightBytes, 0);
  return {
    network,
    work: 'graphs',
    groups,
    weightBytes,
    lanes: 1,
    ahead: 2,
    threadsPerLane: 'all',
    weightsAs: 'mapped',
    shares: 1,
    threadsPerShare: 1,
    imagesPerRun: 1,
    images: 1,
    flops: 0,
    peakBytes: 0,
  };
}

/** A network whose first group has few bytes and much work, as the vision part of a large encoder. */
const encoder = planOf('encoder', [group(0, 2, 10), group(2, 2, 90)]);
const expert = planOf('expert', [group(0, 4, 100)]);
const read = (seconds: number): ExpectedGroup => ({ seconds, isKept: false });
const meterOf = (): ProgressMeter =>
  new ProgressMeter([
    { plan: encoder, groups: [60, 20].map(read) },
    { plan: expert, groups: [20].map(read) },
  ]);
const shareOf = ({ work }: ReturnType<ProgressMeter['begin']>, step: string): number =>
  (work.find((item) => item.step === step)?.done ?? 0) / (work.find((item) => item.step === step)?.total ?? 0);

test('a group counts by the time that is expected of it, and not by its bytes', () => {
  const meter = meterOf();
  expect(meter.begin(encoder)).toMatchObject({ bytesDone: 0, bytesTotal: 200, stageCount: 8, etaSeconds: 100 });
  const half = meter.finish(encoder, encoder.groups[0] as StageGroup, 'a');
  expect(half).toMatchObject({ bytesDone: 10, stageIndex: 2 });
  expect(shareOf(half, 'encoder')).toBeCloseTo(0.75);
  expect(shareOf(meter.finish(encoder, encoder.groups[1] as StageGroup, 'b'), 'encoder')).toBeCloseTo(1);
  const end = meter.finish(expert, expert.groups[0] as StageGroup, 'c');
  expect(shareOf(end, 'expert')).toBeCloseTo(1);
  expect(end.etaSeconds).toBe(0);
});

test('groups of a plan for fewer images share what was expected of their stages', () => {
  const meter = meterOf();
  expect(shareOf(meter.finish(encoder, group(0, 1, 5), 'a'), 'encoder')).toBeCloseTo(0.375);
  expect(shareOf(meter.finish(encoder, group(1, 3, 95), 'b'), 'encoder')).toBeCloseTo(1);
});

test('a network that is left out is done', () => {
  const meter = meterOf();
  meter.skip(encoder);
  expect(meter.begin(expert)).toMatchObject({ stageIndex: 4, bytesDone: 100 });
  expect(shareOf(meter.begin(expert), 'encoder')).toBeCloseTo(1);
});

test('weights that are in memory are no bytes to read, and a step of their own: they go at another speed', () => {
  const meter = new ProgressMeter([{ plan: encoder, groups: [{ seconds: 60, isKept: true }, read(20)] }]);
  expect(meter.begin(encoder)).toMatchObject({
    bytesTotal: 90,
    work: [
      { step: 'encoder, in memory', done: 0, total: 60 },
      { step: 'encoder', done: 0, total: 20 },
    ],
  });
  const half = meter.finish(encoder, encoder.groups[0] as StageGroup, 'a');
  expect(half).toMatchObject({ bytesDone: 0, stageIndex: 2, etaSeconds: expect.any(Number) as number });
  expect(half.work.map(({ done }) => done)).toEqual([60, 0]);
});

test('of groups that follow one another fast, the first and the last are told of, and some between', () => {
  const groups = Array.from({ length: 12 }, (_, i) => group(i, 1, 10));
  const plan = planOf('expert', groups);
  const meter = new ProgressMeter([{ plan, groups: groups.map(() => read(1)) }]);
  const told: number[] = [];
  let now = 1000;
  const tell = paced(({ stageIndex }) => void told.push(stageIndex), () => now); // prettier-ignore
  for (const each of groups) {
    tell(meter.finish(plan, each, 'a'));
    now += 20;
  }
  expect(told).toEqual([1, 4, 7, 10, 12]);
});
