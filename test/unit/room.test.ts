import fc from 'fast-check';
import { expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { planAll, roomBeside, type Allowance, type PreparedNetwork, type Work } from '../../main/pipelines/context.ts';

/** What is kept and what a job takes share its budget: no plan, of this job or of fewer images, reaches into the room. */
const MIB = 2 ** 20;
const size = fc.oneof(fc.nat(1000), fc.nat(60 * MIB));
const amount = fc.record({ fixed: size, perImage: size });
const network: fc.Arbitrary<PreparedNetwork> = fc
  .record({
    name: fc.constant('net'),
    stages: fc.constant([]),
    costs: fc.array(
      fc.record({
        id: fc.constant('stage'),
        waitsFor: fc.constant(-1),
        weights: fc.array(
          fc.record({
            name: fc.constant('w'),
            file: fc.constant('f'),
            shape: fc.constant([1]),
            offset: fc.nat(1000),
            length: size,
          }),
          { maxLength: 3 },
        ),
        flops: fc.constant({ fixed: 0, perImage: 0 }),
        live: fc.array(amount, { maxLength: 3 }),
        inputBytes: fc.nat(MIB),
        results: amount,
        stateBytes: fc.nat(MIB),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    wholeBatch: fc.boolean(),
    leastImages: fc.integer({ min: 1, max: 2 }),
    held: fc.record({ fixed: fc.nat(50 * MIB), perImage: fc.nat(4 * MIB) }),
  })
  .map((made) => ({ ...made, shareCosts: () => made.costs, device: 'cpu' as const }));
const works: fc.Arbitrary<Work[]> = fc.array(fc.record({ network, images: fc.integer({ min: 1, max: 30 }) }), {
  minLength: 1,
  maxLength: 3,
});

function planOf(asked: readonly Work[], allowed: Allowance): ReturnType<typeof planAll> | undefined {
  try {
    return planAll(asked, allowed);
  } catch (error) {
    expect(I2lError.from(error).code).toBe('MEMORY_BUDGET');
    return undefined;
  }
}

test('a plan and the room beside it are within the budget, also for fewer images', () => {
  let planned = 0;
  const property = fc.property(
    works,
    fc.nat(3000 * MIB),
    fc.integer({ min: 1, max: 4 }),
    fc.boolean(),
    (asked, memory, threads, feeds) => {
      const allowed = { memory, threads, feeds };
      const plans = planOf(asked, allowed);
      if (!plans) return;
      planned++;
      const room = roomBeside(asked, allowed, plans.values());
      expect(room).toBeGreaterThanOrEqual(0);
      for (const { peakBytes } of plans.values()) expect(peakBytes + room).toBeLessThanOrEqual(memory);
      const fewer = asked.map((work) => ({ ...work, images: Math.ceil(work.images / 2) }));
      const left = planOf(fewer, { ...allowed, memory: memory - room });
      expect(left, 'fewer images are never refused').toBeDefined();
      for (const { peakBytes } of left?.values() ?? []) expect(peakBytes + room).toBeLessThanOrEqual(memory);
    },
  );
  fc.assert(property, { seed: 11, numRuns: 1000 });
  expect(planned).toBeGreaterThan(300);
});

test('jobs of up to eight images leave the same room', () => {
  const property = fc.property(works, fc.integer({ min: 1, max: 8 }), (asked, images) => {
    const allowed = { memory: 100_000 * MIB, threads: 1, feeds: true };
    const roomOf = (count: number): number => {
      const some = asked.map(({ network }) => ({ network, images: count }));
      return roomBeside(some, allowed, planAll(some, allowed).values());
    };
    expect(roomOf(images)).toBe(roomOf(8));
  });
  fc.assert(property, { seed: 11, numRuns: 200 });
});
