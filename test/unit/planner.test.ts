import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planNetwork, shortfalls, type NetworkPlan, type PlanRequest } from '../../main/offload/planner.ts';
import { mergeRanges, type ReadRequest } from '../../main/offload/reader.ts';
import { memoryRefusal } from '../../main/offload/shortfall.ts';
import type { StageCost } from '../../main/offload/stage.ts';
import { roomFor } from '../../main/offload/weight-buffer.ts';
import { thrownBy } from './errors.ts';

const MIB = 2 ** 20;
const RUNS = { seed: 11, numRuns: 1000 };

interface Sizes {
  readonly weights: readonly number[];
  readonly live?: StageCost['live'];
  readonly inputBytes?: number;
  readonly stateBytes?: number;
  readonly results?: StageCost['results'];
  readonly flops?: StageCost['flops'];
}

const NOTHING = { fixed: 0, perImage: 0 };

function stage(
  id: string,
  { weights, live = [], inputBytes = 0, stateBytes = 0, results = NOTHING, flops = NOTHING }: Sizes,
): StageCost {
  const ranges = weights.map((length, i) => ({
    name: `${id}.${i}`,
    dtype: 'BF16' as const,
    shape: [length / 2],
    file: 'x',
    offset: 0,
    length,
  }));
  return { id, waitsFor: -1, weights: ranges, flops, live, inputBytes, stateBytes, results };
}

const weightBytes = (costs: readonly StageCost[]): number =>
  costs.flatMap(({ weights }) => weights).reduce((sum, { length }) => sum + length, 0);

/** The least that a stage by itself takes with so many images a run. */
function alone(request: PlanRequest, cost: StageCost, count: number): number {
  const live = Math.max(0, ...cost.live.map(({ fixed, perImage }) => fixed + perImage * count));
  return request.baseline + weightBytes([cost]) + live + cost.stateBytes * request.images;
}

// Sizes from bytes to past what stages are joined for, so that every rule of the planner matters somewhere.
const size = fc.oneof(fc.nat(1000), fc.nat(8 * MIB), fc.nat(100 * MIB));
const amount = fc.record({ fixed: size, perImage: size });
const plain: fc.Arbitrary<PlanRequest> = fc.record({
  network: fc.constant('net'),
  costs: fc
    .array(
      fc.record({
        weights: fc.array(fc.oneof(size, fc.nat(400 * MIB)), { maxLength: 4 }),
        live: fc.array(amount, { maxLength: 5 }),
        inputBytes: fc.nat(MIB),
        stateBytes: fc.nat(MIB),
        results: amount,
        flops: amount,
        waits: fc.nat(2),
        parts: fc.constantFrom(undefined, 2, 12),
      }),
      {
        minLength: 1,
        maxLength: 12,
      },
    )
    .map((stages) =>
      stages.map(({ waits, parts, ...sizes }, i) => ({
        ...stage(`stage ${i}`, sizes),
        parts,
        waitsFor: waits > 0 ? Math.max(-1, i - waits) : -1,
      })),
    ),
  images: fc.integer({ min: 1, max: 30 }),
  budget: fc.oneof(fc.nat(400 * MIB), fc.nat(4000 * MIB), fc.nat(20_000 * MIB)),
  baseline: fc.nat(100 * MIB),
  wholeBatch: fc.boolean(),
  threads: fc.integer({ min: 1, max: 12 }),
  feeds: fc.boolean(),
});

/** Some of them know what stages cost in shares: a little more than a part of the whole. */
const request = fc.tuple(plain, fc.boolean()).map(([asked, knows]): PlanRequest => ({
  ...asked,
  ...(knows ? { shareCosts: (of) => asked.costs.map((cost) => (cost.parts === undefined ? cost : shareOf(cost, of))) } : {}),
}));

function shareOf(cost: StageCost, of: number): StageCost {
  const part = ({ fixed, perImage }: StageCost['live'][number]) => ({ fixed: fixed / of + 1000, perImage: perImage / of + 10 });
  return { ...cost, live: cost.live.map(part) };
}

/** A plan within the budget that was asked for, or within the smallest one that its refusal names. */
function planOrSmallest(asked: PlanRequest): { plan: NetworkPlan; given: PlanRequest } {
  try {
    return { plan: planNetwork(asked), given: asked };
  } catch {
    const error = thrownBy(() => planNetwork(asked));
    expect(error.code).toBe('MEMORY_BUDGET');
    const given = { ...asked, budget: Number(error.fields['smallest']) };
    return { plan: planNetwork(given), given };
  }
}

const holds = (check: (plan: NetworkPlan, given: PlanRequest) => void): void =>
  fc.assert(
    fc.property(request, (asked) => {
      const { plan, given } = planOrSmallest(asked);
      check(plan, given);
    }),
    RUNS,
  );

describe('any plan', () => {
  test('stays within its budget, group by group', () =>
    holds((plan, given) => {
      for (const group of plan.groups) expect(group.peakBytes).toBeLessThanOrEqual(given.budget);
      expect(plan.peakBytes).toBe(Math.max(...plan.groups.map(({ peakBytes }) => peakBytes)));
    }));

  test('has every stage once, in order', () =>
    holds((plan, { costs }) => {
      const order = plan.groups.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
      expect(order).toEqual(costs.map((_, i) => i));
      expect(plan.groups.every(({ count }) => count > 0)).toBe(true);
    }));

  test('counts all weights and all operations', () =>
    holds((plan, { costs, images }) => {
      expect(plan.weightBytes).toBe(weightBytes(costs));
      for (const { first, count, weightBytes: bytes } of plan.groups)
        expect(bytes).toBe(weightBytes(costs.slice(first, first + count)));
      expect(plan.flops).toBe(costs.reduce((sum, { flops }) => sum + flops.fixed + flops.perImage * images, 0));
    }));

  test('never promises a group less than its largest stage takes', () =>
    holds((plan, given) => {
      for (const { first, count, peakBytes } of plan.groups) {
        const members = given.costs.slice(first, first + count);
        const least = Math.max(...members.map((cost) => alone(given, cost, plan.imagesPerRun)));
        if (count === 1 && plan.weightsAs === 'mapped') expect(peakBytes).toBe(least);
        else if (plan.shares === 1) expect(peakBytes).toBeGreaterThanOrEqual(least);
      }
    }));

  test('runs as many images at once as fit, at most 8; a whole batch if it must', () =>
    holds((plan, given) => {
      const most = given.wholeBatch ? given.images : Math.min(8, given.images);
      expect(plan.imagesPerRun).toBeGreaterThanOrEqual(given.wholeBatch ? given.images : 1);
      expect(plan.imagesPerRun).toBeLessThanOrEqual(most);
      if (plan.shares > 1 && !given.wholeBatch) return expect(plan.imagesPerRun).toBeLessThanOrEqual(2);
      if (plan.imagesPerRun < most) {
        const more = Math.max(...given.costs.map((cost) => alone(given, cost, plan.imagesPerRun + 1)));
        expect(more).toBeGreaterThan(given.budget);
      }
    }));

  test('joins small stages only', () =>
    holds((plan) => {
      for (const { count, weightBytes: bytes } of plan.groups) if (count > 1) expect(bytes).toBeLessThanOrEqual(64 * MIB);
    }));

  test('joins an encoder’s stages as it does for one image, where the memory is no bound: what stayed of them is found', () =>
    holds((_plan, given) => {
      const encoder = { ...given, wholeBatch: false, budget: 10 ** 6 * MIB };
      const groupsFor = (images: number): unknown =>
        planNetwork({ ...encoder, images }).groups.map(({ first, count }) => [first, count]);
      expect(groupsFor(given.images)).toEqual(groupsFor(1));
    }));

  test('has a group wait for the last one that any of its stages waits for', () =>
    holds((plan, { costs }) => {
      const groupOf = plan.groups.flatMap(({ count }, group) => Array.from({ length: count }, () => group));
      plan.groups.forEach(({ first, count, waitsFor }, group) => {
        const waits = costs.slice(first, first + count).map((cost) => groupOf[cost.waitsFor] ?? -1);
        expect(waitsFor).toBe(Math.max(-1, ...waits.filter((other) => other !== group)));
      });
    }));

  test('has several lanes only for work that is independent, and counts the memory of each', () =>
    holds((plan, given) => {
      const { lanes, threadsPerLane } = plan;
      expect(lanes).toBeGreaterThanOrEqual(1);
      expect(lanes).toBeLessThanOrEqual(Math.min(given.threads, 8));
      if (threadsPerLane === 'all') expect(lanes).toBe(1);
      if (!given.wholeBatch || given.costs.every(({ waitsFor }, i) => waitsFor === i - 1)) expect(threadsPerLane).toBe('all');
      if (lanes === 1) return;
      for (const { first, count, peakBytes } of plan.groups) {
        const members = given.costs.slice(first, first + count);
        const least = Math.max(...members.map((cost) => alone({ ...given, baseline: 0 }, cost, plan.imagesPerRun) - cost.stateBytes * given.images)); // prettier-ignore
        expect(peakBytes - given.baseline).toBeGreaterThanOrEqual(lanes * least);
      }
    }));

  test('feeds weights where they may be, and the next ones have room beside them', () =>
    holds((plan, given) => {
      if (!given.feeds) return expect([plan.weightsAs, plan.lanes]).toEqual(['mapped', 1]);
      if (plan.lanes > 1 || plan.shares > 1) return expect(plan.weightsAs).toBe('fed');
      const { groups: mapped } = planNetwork({ ...given, feeds: false });
      const buffers = 2 * roomFor(Math.max(...mapped.map(({ weightBytes: bytes }) => bytes)));
      const fed = mapped.map((group) => ({ ...group, peakBytes: group.peakBytes - group.weightBytes + buffers }));
      const fits = fed.every(({ peakBytes }) => peakBytes <= given.budget);
      expect(plan.weightsAs).toBe(fits ? 'fed' : 'mapped');
      expect(plan.groups).toEqual(fits ? fed : mapped);
    }));

  test('shares stages among as many threads as their parts, the memory and their work allow', () => {
    let shared = 0;
    holds((plan, given) => {
      const { costs, threads, budget, shareCosts } = given;
      const parts = costs.flatMap((cost) => cost.parts ?? []);
      const fits = (shares: number): boolean => {
        if (parts.some((count) => count % shares !== 0)) return false;
        const inParts = shareCosts?.(shares) ?? costs;
        const buffers = 2 * roomFor(Math.max(...costs.map((cost) => weightBytes([cost]))));
        return costs.every((cost, i) => {
          const one = inParts[i] ?? cost;
          const own =
            alone({ ...given, baseline: 0 }, one, plan.imagesPerRun) - weightBytes([cost]) - cost.stateBytes * given.images;
          const results = cost.results.fixed + cost.results.perImage * plan.imagesPerRun;
          const lanes = shares * 24 * MIB + (cost.parts === undefined ? 1 : shares) * (own + results);
          return given.baseline + cost.stateBytes * given.images + buffers + lanes <= budget;
        });
      };
      const may = given.feeds && plan.lanes === 1 && shareCosts && parts.length > 0 && weightBytes(costs) >= 512 * MIB;
      const busy = (shares: number): number => shares * Math.floor(threads / shares);
      const wanted = may ? [8, 7, 6, 5, 4, 3, 2].find((shares) => busy(shares) >= 0.75 * threads && fits(shares)) : undefined;
      expect(plan.shares).toBe(wanted ?? 1);
      expect(plan.threadsPerShare).toBe(Math.floor(threads / plan.shares));
      if (plan.shares > 1) shared++;
      if (plan.shares > 1) expect(plan.groups.map(({ first, count }) => [first, count])).toEqual(costs.map((_, i) => [i, 1]));
    });
    expect(shared).toBeGreaterThan(RUNS.numRuns / 50);
  });

  test('is the same for the same input, which stays as it was', () =>
    holds((plan, given) => {
      const copy = structuredClone({ ...given, shareCosts: undefined });
      expect(planNetwork(given)).toEqual(plan);
      expect({ ...given, shareCosts: undefined }).toEqual(copy);
    }));
});

describe('chains of linear layers', () => {
  const chains = fc.tuple(plain, fc.array(amount, { minLength: 12, maxLength: 12 })).map(([asked, bytes]): PlanRequest => ({
    ...{ ...asked, wholeBatch: true, feeds: true, leastImages: 2 },
    costs: asked.costs.map((cost, i) => ({ ...cost, waitsFor: -1, chainBytes: bytes[i] })),
  }));

  test('need no graphs, no second image, and stay within the budget', () => {
    let taken = 0;
    const property = fc.property(chains, (asked) => {
      const { plan, given } = planOrSmallest(asked);
      const { lanes, ahead, groups, images } = plan;
      expect(plan.peakBytes).toBeLessThanOrEqual(given.budget);
      expect(groups.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i))).toEqual(given.costs.map((_, i) => i));
      if (plan.work === 'graphs') {
        expect(images).toBe(Math.max(2, given.images));
        return;
      }
      taken++;
      expect([images, plan.imagesPerRun, plan.weightsAs]).toEqual([given.images, given.images, 'fed']);
      expect(lanes).toBeLessThanOrEqual(Math.max(1, Math.min(given.threads, 8, Math.floor(weightBytes(given.costs) / (256 * MIB)))));
      for (const { first, count, peakBytes, weightBytes: own } of groups) {
        const members = given.costs.slice(first, first + count);
        const results = members.reduce((sum, cost) => sum + cost.results.fixed + cost.results.perImage * images, 0);
        const scratch = Math.max(...members.map(({ chainBytes = NOTHING }) => chainBytes.fixed + chainBytes.perImage * images));
        expect(own).toBe(weightBytes(members));
        expect(peakBytes - given.baseline).toBeGreaterThanOrEqual(lanes * (scratch + ahead * results));
        if (count > 1) expect(own + results).toBeLessThanOrEqual(12 * MIB);
        expect(ahead).toBeGreaterThan(1);
        if (ahead > 2) expect(ahead * results).toBeLessThanOrEqual(8 * MIB);
      }
    }); // prettier-ignore
    fc.assert(property, RUNS);
    expect(taken).toBeGreaterThan(RUNS.numRuns / 5);
  });

  test('are graphs where one stage is no chain, on another device, and where images are split', () => {
    const property = fc.property(chains, (asked) => {
      const workOf = (changes: Partial<PlanRequest>): string => planOrSmallest({ ...asked, ...changes }).plan.work;
      expect(workOf({ costs: asked.costs.map((cost, i) => (i === 0 ? { ...cost, chainBytes: undefined } : cost)) })).toBe('graphs');
      expect(workOf({ feeds: false })).toBe('graphs');
      expect(workOf({ wholeBatch: false })).toBe('graphs');
    });
    fc.assert(property, { ...RUNS, numRuns: 100 });
  });
});

test('chains of more images than 32 bits have places for are graphs', () => {
  const costs = [{ ...stage('a', { weights: [MIB] }), chainBytes: { fixed: 0, perImage: MIB } }];
  const workOf = (images: number): string =>
    planNetwork({ network: 'net', costs, images, budget: 2 ** 40, baseline: 0, wholeBatch: true, threads: 1, feeds: true }).work;
  expect([4000, 4094, 4095, 4096].map(workOf)).toEqual(['chains', 'chains', 'chains', 'graphs']);
});

test('a device’s own memory is kept, with weights, casts and activations of each group; a refusal names the smallest', () => {
  // A value that is stored in 2 bytes crosses as 4 where it is cast before.
  const weightsThere = (costs: readonly StageCost[], crossesCast: boolean): number => weightBytes(costs) * (crossesCast ? 2 : 1);
  const onDevice = (costs: readonly StageCost[], count: number, crossesCast: boolean): number =>
    Math.max(
      ...costs.map((cost) => {
        const asStored = alone({ ...EMPTY, costs }, { ...cost, stateBytes: cost.inputBytes * count }, count);
        return asStored - weightBytes([cost]) + weightsThere([cost], crossesCast);
      }),
    );
  const EMPTY: PlanRequest = {
    network: 'net',
    costs: [],
    images: 1,
    budget: 2 ** 50,
    baseline: 0,
    wholeBatch: false,
    threads: 1,
    feeds: false,
  };
  let refused = 0;
  fc.assert(
    fc.property(request, fc.nat(500 * MIB), fc.boolean(), (asked, deviceBudget, crossesCast) => {
      const given = { ...asked, budget: 2 ** 50, deviceBudget, crossesCast };
      const least = onDevice(given.costs, given.wholeBatch ? given.images : 1, crossesCast);
      if (least > deviceBudget) {
        refused++;
        const { message, fields } = thrownBy(() => planNetwork(given));
        expect([fields['smallest'], fields['option']]).toEqual([least, '--vram']);
        expect(message).toContain('--vram');
        expect(planNetwork({ ...given, deviceBudget: least }).weightBytes).toBe(weightBytes(given.costs));
        return;
      }
      const plan = planNetwork(given);
      for (const { first, count } of plan.groups) {
        const members = given.costs.slice(first, first + count);
        expect(onDevice(members, plan.imagesPerRun, crossesCast)).toBeLessThanOrEqual(deviceBudget);
        if (count > 1) expect(weightsThere(members, crossesCast)).toBeLessThanOrEqual(deviceBudget);
      }
    }),
    RUNS,
  );
  expect(refused).toBeGreaterThan(RUNS.numRuns / 20);
});

test('a refused budget names the smallest that works, to the byte and in whole MiB', () => {
  let refused = 0;
  const property = fc.property(request, (asked) => {
    const { given } = planOrSmallest(asked);
    if (given === asked) return;
    refused++;
    const error = thrownBy(() => planNetwork(asked));
    expect(given.budget).toBeGreaterThan(asked.budget);
    expect(asked.costs.map(({ id }) => id)).toContain(error.fields['stage']);
    expect(thrownBy(() => planNetwork({ ...asked, budget: given.budget - 1 })).fields).toMatchObject({ smallest: given.budget });
    const advice = Number(/--memory (\d+)MiB/.exec(error.message)?.[1]);
    expect(planNetwork({ ...asked, budget: advice * MIB }).peakBytes).toBeLessThanOrEqual(advice * MIB);
  });
  fc.assert(property, RUNS);
  expect(refused).toBeGreaterThan(RUNS.numRuns / 10);
});

describe('by example', () => {
  const small = (id: string): StageCost =>
    stage(id, { weights: [10 * MIB], live: [{ fixed: 0, perImage: MIB }], stateBytes: 1000 });
  const base: PlanRequest = {
    network: 'net',
    costs: ['a', 'b', 'c'].map(small),
    images: 10,
    budget: 1000 * MIB,
    baseline: 0,
    wholeBatch: false,
    threads: 1,
    feeds: false,
  };
  const shape = (plan: NetworkPlan): number[] => plan.groups.map(({ count }) => count);

  test('small stages share a run, with 8 images at most', () => {
    expect(planNetwork(base)).toMatchObject({ imagesPerRun: 8, groups: [{ first: 0, count: 3 }] });
  });

  test('a large stage runs by itself, and parts those around it', () => {
    const costs = [small('a'), stage('large', { weights: [200 * MIB] }), small('b'), small('c')];
    expect(shape(planNetwork({ ...base, costs }))).toEqual([1, 1, 2]);
  });

  test('a tight budget runs fewer images, then no joined stages', () => {
    const one = 10 * MIB + MIB + 10_000;
    expect(planNetwork({ ...base, budget: one + 2 * MIB })).toMatchObject({ imagesPerRun: 3 });
    expect(shape(planNetwork({ ...base, budget: one }))).toEqual([1, 1, 1]);
  });

  test('results of joined stages add up', () => {
    const costs = ['a', 'b'].map((id) =>
      stage(id, { weights: [], live: [{ fixed: 20, perImage: 0 }], results: { fixed: 7, perImage: 1 } }),
    );
    expect(planNetwork({ ...base, costs, images: 2 })).toMatchObject({ peakBytes: 20 + 7 + 2, groups: [{ count: 2 }] });
    expect(shape(planNetwork({ ...base, costs, images: 2, budget: 28 }))).toEqual([1, 1]);
  });

  test('no core is left without work where stages have few parts, or memory for few shares', () => {
    const costs = [4, 12].map((parts): StageCost => ({ ...stage(`${parts}`, { weights: [300 * MIB] }), parts }));
    const manner = (threads: number, changes: Partial<PlanRequest> = {}): number[] => {
      const request = { ...base, costs, feeds: true, threads, budget: 10_000 * MIB, shareCosts: () => costs, ...changes };
      const { shares, threadsPerShare } = planNetwork(request);
      return [shares, threadsPerShare];
    };
    expect([1, 2, 3, 4, 5, 6, 7, 8, 12].map((threads) => manner(threads))).toEqual([[1, 1], [2, 1], [1, 3], [4, 1], [4, 1], [2, 3], [2, 3], [4, 2], [4, 3]]);
    expect(manner(8, { budget: 2 * roomFor(300 * MIB) + 3 * 24 * MIB })).toEqual([2, 4]);
  }); // prettier-ignore

  test('independent stages get the lanes that fit; a row of stages that wait gets one', () => {
    const costs = Array.from({ length: 40 }, (_, i) =>
      stage(`m${i}`, { weights: [20 * MIB], live: [{ fixed: 40 * MIB, perImage: 0 }] }),
    );
    const lanes = (budget: number, changes: Partial<PlanRequest> = {}): number =>
      planNetwork({ ...base, costs, wholeBatch: true, threads: 8, feeds: true, budget, ...changes }).lanes;
    expect(lanes(1000 * MIB)).toBe(3); // 256 MiB of weights pay for one.
    expect(lanes(200 * MIB)).toBe(2);
    expect(lanes(100 * MIB)).toBe(1);
    expect(lanes(1000 * MIB, { threads: 2 })).toBe(2);
    expect(lanes(1000 * MIB, { wholeBatch: false })).toBe(1);
    expect(lanes(1000 * MIB, { costs: costs.map((cost, i) => ({ ...cost, waitsFor: i - 1 })) })).toBe(1);
  });

  test('a refusal names both budgets where both are too small, and what it names is enough', () => {
    const error = thrownBy(() => planNetwork({ ...base, budget: MIB, deviceBudget: MIB }));
    expect(error.message).toContain('allow at least --memory 12MiB and --vram 11MiB.');
    const { smallest, option, smallestVram } = error.fields;
    expect(option).toBe('--memory');
    expect(planNetwork({ ...base, budget: Number(smallest), deviceBudget: Number(smallestVram) }).imagesPerRun).toBe(1);
  });

  test('of several networks, the one that needs most of each budget is named', () => {
    const large = { ...base, network: 'large', costs: [small('a'), stage('wide', { weights: [50 * MIB], stateBytes: 0 })] };
    const state = { ...base, network: 'long', costs: [stage('s', { weights: [], stateBytes: 90 * MIB })] };
    const short = [large, state].flatMap((request) => shortfalls({ ...request, budget: MIB, deviceBudget: MIB }));
    const { message } = memoryRefusal(short);
    expect(message).toContain('long needs 900MiB for s and may take 1MiB');
    expect(message).toContain('large needs 50MiB for wide on the device and may take 1MiB');
  });

  test('an image that is decoded before the stages is planned, and named where it needs most', () => {
    const image = { file: '/in/a.png', width: 30, height: 20 };
    const request = { ...base, baseline: 10 * MIB, decoding: { ...image, bytes: 500 * MIB } };
    expect(planNetwork(request).peakBytes).toBe(510 * MIB);
    const { message, fields } = thrownBy(() => planNetwork({ ...request, budget: 300 * MIB }));
    expect(fields).toEqual({ ...image, smallest: 510 * MIB, budget: 300 * MIB, option: '--memory' });
    expect(message).toMatch(
      /^\/in\/a[.]png: to decode its 30 x 20 pixels.* 510MiB and may take 300MiB; allow at least --memory 510MiB/,
    );
    expect(planNetwork({ ...request, budget: 510 * MIB }).peakBytes).toBe(510 * MIB);
  });

  test('a whole batch is never split', () => {
    expect(planNetwork({ ...base, wholeBatch: true }).imagesPerRun).toBe(10);
    const error = thrownBy(() => planNetwork({ ...base, wholeBatch: true, budget: 15 * MIB }));
    expect(error.fields).toMatchObject({ network: 'net', stage: 'a', smallest: 20 * MIB + 10_000, budget: 15 * MIB });
  });
});

describe('mergeRanges', () => {
  const range = fc.record({ file: fc.constantFrom('a', 'b', 'c'), offset: fc.nat(60), length: fc.nat(12) });
  const bytesOf = (ranges: readonly ReadRequest[]): string[] =>
    ranges.flatMap(({ file, offset, length }) => Array.from({ length }, (_, i) => `${file}${offset + i}`));
  const end = ({ offset, length }: ReadRequest): number => offset + length;

  test('reads the bytes that were asked for, no others, and each of them once', () => {
    const property = fc.property(fc.array(range, { maxLength: 20 }), (ranges) => {
      expect(bytesOf(mergeRanges(ranges)).sort()).toEqual([...new Set(bytesOf(ranges))].sort());
    });
    fc.assert(property, RUNS);
  });

  test('leaves no neighbours apart, bridges no gap, and goes by place', () => {
    /** Runs of used and free bytes in each file, in any order. */
    const disjoint = fc
      .array(fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom(0, 0, 5), fc.integer({ min: 1, max: 9 })), { maxLength: 20 })
      .chain((runs) => {
        const at: Record<string, number> = { a: 0, b: 0 };
        const ranges = runs.map(([file, gap, length]) => {
          const offset = (at[file] ?? 0) + gap;
          at[file] = offset + length;
          return { file, offset, length };
        });
        return fc.shuffledSubarray(ranges);
      });
    const property = fc.property(disjoint, (ranges) => {
      const before = structuredClone(ranges);
      const merged = mergeRanges(ranges);
      expect(ranges).toEqual(before);
      expect(new Set(bytesOf(merged))).toEqual(new Set(bytesOf(ranges)));
      for (const [i, next] of merged.entries()) {
        const last = merged[i - 1];
        if (last) expect(last.file < next.file || (last.file === next.file && end(last) < next.offset)).toBe(true);
      }
    });
    fc.assert(property, RUNS);
  });
});
