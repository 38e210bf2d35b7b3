import { describe, expect, test } from 'vitest';
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
const nothing = () => ({ bytes: 0, ms: 0 });
const meterOf = (readSpeed?: number, readAhead = nothing): ProgressMeter =>
  new ProgressMeter(
    [
      { plan: encoder, groups: [60, 20].map(read), readSpeed },
      { plan: expert, groups: [20].map(read), readSpeed },
    ],
    readAhead,
  );
const shareOf = ({ work }: ReturnType<ProgressMeter['begin']>, step: string): number =>
  (work.find((item) => item.step === step)?.done ?? 0) / (work.find((item) => item.step === step)?.total ?? 0);

test('a group counts by the time that is expected of it, and not by its bytes', () => {
  const meter = meterOf();
  expect(meter.begin(encoder)).toMatchObject({ bytesDone: 0, bytesTotal: 200, stageCount: 8, etaSeconds: 100 });
  const half = meter.finish(encoder, encoder.groups[0] as StageGroup, 'a', 0);
  expect(half).toMatchObject({ bytesDone: 10, stageIndex: 2 });
  expect(shareOf(half, 'encoder')).toBeCloseTo(0.75);
  expect(shareOf(meter.finish(encoder, encoder.groups[1] as StageGroup, 'b', 0), 'encoder')).toBeCloseTo(1);
  const end = meter.finish(expert, expert.groups[0] as StageGroup, 'c', 0);
  expect(shareOf(end, 'expert')).toBeCloseTo(1);
  expect(end.etaSeconds).toBe(0);
});

test('groups of a plan for fewer images share what was expected of their stages', () => {
  const meter = meterOf();
  expect(shareOf(meter.finish(encoder, group(0, 1, 5), 'a', 0), 'encoder')).toBeCloseTo(0.375);
  expect(shareOf(meter.finish(encoder, group(1, 3, 95), 'b', 0), 'encoder')).toBeCloseTo(1);
});

test('a network that is left out is done', () => {
  const meter = meterOf();
  meter.skip(encoder);
  expect(meter.begin(expert)).toMatchObject({ stageIndex: 4, bytesDone: 100 });
  expect(shareOf(meter.begin(expert), 'encoder')).toBeCloseTo(1);
});

test('weights that are in memory are work, and no bytes to read', () => {
  const meter = new ProgressMeter([{ plan: encoder, groups: [{ seconds: 60, isKept: true }, read(20)] }], nothing);
  expect(meter.begin(encoder)).toMatchObject({
    bytesTotal: 90,
    work: [{ step: 'encoder', done: 0, total: 80, reading: { done: 0, total: 90 } }],
  });
  const half = meter.finish(encoder, encoder.groups[0] as StageGroup, 'a', 0);
  expect(half).toMatchObject({ bytesDone: 0, stageIndex: 2, work: [{ done: 60, reading: { done: 0 } }] });
});

test('of groups that follow one another fast, the first and the last are told of, and some between', () => {
  const groups = Array.from({ length: 12 }, (_, i) => group(i, 1, 10));
  const plan = planOf('expert', groups);
  const meter = new ProgressMeter([{ plan, groups: groups.map(() => read(1)) }], nothing);
  const told: number[] = [];
  let now = 1000;
  const tell = paced(({ stageIndex }) => void told.push(stageIndex), () => now); // prettier-ignore
  for (const each of groups) {
    tell(meter.finish(plan, each, 'a', 0));
    now += 20;
  }
  expect(told).toEqual([1, 4, 7, 10, 12]);
});

describe('what is read', () => {
  const SPEED = 20;
  const readingsOf = ({ work }: ReturnType<ProgressMeter['begin']>) => work.map(({ reading }) => reading);

  test('bytes of each step, and what was waited for them; nothing of a network in memory', () => {
    const meter = meterOf(SPEED);
    const waiting = { done: 0, total: 100, speed: SPEED };
    expect(readingsOf(meter.begin(encoder))).toEqual([waiting, waiting]);
    const fed = { ...encoder, weightsAs: 'fed' } as const;
    const ofFed = new ProgressMeter([{ plan: fed, groups: [60, 20].map(read) }], nothing);
    ofFed.finish(fed, group(0, 2, 10), 'a', 3);
    expect(readingsOf(ofFed.finish(fed, group(2, 2, 90), 'b', 4))).toEqual([{ done: 100, total: 100, waited: 7 }]);
    const kept = new ProgressMeter([{ plan: fed, groups: [60, 20].map((seconds) => ({ seconds, isKept: true })) }], nothing);
    expect(readingsOf(kept.begin(fed))).toEqual([undefined]);
  });

  test('a reader that is faster than a few tries were makes what is to come faster; a slower one nothing slower', () => {
    const speedAfter = (ms: number): number | undefined => {
      const meter = meterOf(SPEED, () => ({ bytes: 100, ms }));
      for (const one of encoder.groups) meter.finish(encoder, one, 'a', 0);
      return readingsOf(meter.begin(expert))[1]?.speed;
    };
    const expected = (1000 * 100) / SPEED;
    expect(speedAfter(expected / 4)).toBeGreaterThan(3 * SPEED);
    expect(speedAfter(expected / 4)).toBeLessThan(4 * SPEED);
    expect(speedAfter(4 * expected)).toBe(SPEED);
  });
});
