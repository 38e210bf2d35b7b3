import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { errorsOf, largestJump, tellOf, type PlannedNetwork, type Truth } from './simulated-job.ts';

/** As they are planned at the published sizes, with one image. */
const STYLE: readonly PlannedNetwork[] = [
  { kind: 'siglip2', groups: 82, seconds: 4.5, bytes: 2.33e9 },
  { kind: 'dinov3', groups: 82, seconds: 9.8, bytes: 13.4e9 },
  { kind: 'style', groups: 240, seconds: 0.6, bytes: 4.8e9 },
];
const COARSE: readonly PlannedNetwork[] = [
  ...STYLE.slice(0, 2),
  { kind: 'qwen2.5-vl', groups: 120, seconds: 60, bytes: 14.4e9 },
  { kind: 'coarse', groups: 240, seconds: 5, bytes: 15.9e9 },
];

const MEMORY = 4e9;
const DISKS = { 'hard disk': 0.15e9, 'SATA SSD': 0.5e9, NVMe: 2.5e9, memory: MEMORY };

/** A machine as it was expected, all of whose weights come at one speed. */
const evenly = (speed: number, more: Partial<Truth> = {}): Truth => ({
  ...{ slower: () => 1, reads: () => speed, tried: () => speed },
  ...more,
});

const median = (errors: readonly number[]): number => errors[Math.floor(errors.length / 2)] ?? Number.NaN;

function expectHonest(networks: readonly PlannedNetwork[], truth: Truth, { middle = 0.3, worst = 0.55, jump = 0.2 } = {}): void {
  const told = tellOf(networks, truth);
  const errors = errorsOf(told);
  expect(median(errors), 'median').toBeLessThan(middle);
  expect(errors.at(-1), 'worst').toBeLessThan(worst);
  expect(largestJump(told), 'jump').toBeLessThan(jump);
}

describe.each(Object.entries(DISKS))('the first job of a machine, weights on: %s', (_name, speed) => {
  test.each([0.4, 1, 2.5])('cores that take %f of what was expected', (slower) => {
    for (const isMapped of [false, true])
      for (const networks of [STYLE, COARSE]) expectHonest(networks, evenly(speed, { slower: () => slower, isMapped }));
  });

  test('one network much slower than planned', () => {
    for (const kind of ['siglip2', 'qwen2.5-vl']) {
      expectHonest(COARSE, evenly(speed, { slower: (of) => (of === kind ? 1.6 : 1) }), { worst: 0.6 });
    }
  });
});

describe('a first job whose weights', () => {
  test('lie in memory in part: what the last program read, and no more', () => {
    const inMemory = new Set(['siglip2', 'dinov3']);
    const reads = (kind: string): number => (inMemory.has(kind) ? MEMORY : 0.5e9);
    expectHonest(COARSE, evenly(MEMORY, { reads, tried: reads }));
    expectHonest(STYLE, evenly(MEMORY, { reads, tried: reads }), { worst: 0.6 });
  });

  test('come half as fast, or twice as fast, as a few tries have shown', () => {
    for (const factor of [0.5, 2])
      for (const isMapped of [false, true])
        for (const networks of [STYLE, COARSE])
          expectHonest(networks, evenly(0.5e9, { tried: () => 0.5e9 * factor, isMapped }), { middle: 0.35, worst: 1, jump: 0.25 });
  });

  test('come slower for a while, when the system makes room for them', () => {
    const reads = (kind: string, share: number): number => (kind === 'dinov3' && share < 0.2 ? 0.45e9 : 2e9);
    expectHonest(STYLE, evenly(2e9, { reads, tried: () => 1.5e9 }), { middle: 0.35, worst: 0.9 });
  });

  test('any machine, whatever was expected of it', () => {
    const machine = fc.record({
      factors: fc.array(fc.double({ min: 0.8, max: 1.25, noNaN: true }), { minLength: 4, maxLength: 4 }),
      all: fc.double({ min: 0.3, max: 4, noNaN: true }),
      speed: fc.constantFrom(...Object.values(DISKS)),
      tried: fc.double({ min: 0.7, max: 1.4, noNaN: true }),
      isMapped: fc.boolean(),
      networks: fc.constantFrom(STYLE, COARSE),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(machine, ({ factors, all, speed, tried, isMapped, networks, seed }) => {
        const slower = (kind: string): number => all * (factors[networks.findIndex((network) => network.kind === kind)] ?? 1);
        expectHonest(networks, evenly(speed, { slower, tried: () => tried * speed, isMapped, seed }), {
          middle: 0.35,
          worst: 1,
          jump: 0.3,
        });
      }),
      { numRuns: 100 },
    );
  });
});

test('what a job from a disk measured holds for one from memory, from its first moment on', () => {
  const cores = { slower: () => 1.5 };
  const rates = new Map(STYLE.map(({ kind }) => [kind, 1 / 1.5]));
  const first = tellOf(STYLE, evenly(DISKS['SATA SSD'], cores));
  expect(median(errorsOf(first))).toBeLessThan(0.3);
  const second = tellOf(STYLE, evenly(MEMORY, cores), rates);
  expect(errorsOf(second).at(-1)).toBeLessThan(0.25);
  expect((second[0]?.told ?? Number.NaN) / (second[0]?.left ?? 0)).toBeCloseTo(1, 0);
});
