import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { averageRate, EtaEstimator, type WorkItem } from '../../main/jobs/eta.ts';
import { RunProgress } from '../../main/jobs/progress.ts';

/** One step of a job as it really goes: seconds that each of its equal pieces takes. */
interface TraceStep {
  readonly kind: string;
  readonly units: number;
  readonly pieces: readonly number[];
}

interface Sample {
  /** Seconds since the start, and until the end. */
  readonly at: number;
  readonly left: number;
  readonly told: number | undefined;
}

/** Plays steps one after the other, as the engine does, and notes what the estimator says after each piece. */
function play(steps: readonly TraceStep[], stored: ReadonlyMap<string, number>): Sample[] {
  const eta = new EtaEstimator(stored);
  const total = steps.reduce((sum, { pieces }) => sum + pieces.reduce((a, b) => a + b, 0), 0);
  const done = steps.map(() => 0);
  const work = (): WorkItem[] => steps.map(({ kind, units }, i) => ({ kind, done: done[i]!, total: units }));
  let at = 0;
  const samples: Sample[] = [];
  eta.update(work(), 0);
  steps.forEach(({ units, pieces }, i) => {
    for (const seconds of pieces) {
      at += seconds;
      done[i]! += units / pieces.length;
      samples.push({ at, left: total - at, told: eta.update(work(), at)?.left });
    }
  });
  return samples;
}

/** The worst error after the first tenth, as a share of the time left; near the end, of a twentieth of the whole. */
function worstError(samples: readonly Sample[]): number {
  const total = samples.at(-1)!.at;
  const late = samples.filter(({ at }) => at >= total / 10);
  return Math.max(...late.map(({ left, told }) => Math.abs((told ?? Infinity) - left) / Math.max(left, total / 20)));
}

/** Pieces of a step that goes at `rate`, each off by a random factor. */
function step(
  kind: string,
  units: number,
  rate: number,
  count: number,
  more: { noise?: number; speed?: (share: number) => number; seed?: number } = {},
): TraceStep {
  const { noise = 0.15, speed = () => 1, seed = 1 } = more;
  const next = mulberry32(seed + units + count);
  const pieces = Array.from(
    { length: count },
    (_, i) => (units / count / rate / speed(i / count)) * Math.exp(noise * 2 * (next() + next() - 1)),
  );
  return { kind, units, pieces };
}

/** The table as it is after earlier runs of the same kinds, each at `factor` of the speed of today. */
function ratesOf(steps: readonly TraceStep[], factor: (kind: string) => number = () => 1): ReadonlyMap<string, number> {
  return new Map(steps.map(({ kind, units, pieces }) => [kind, (units / pieces.reduce((a, b) => a + b, 0)) * factor(kind)]));
}

/** SigLIP2, DINOv3-7B and Style on ten images, as measured on two cores: seconds 30, 190, 5. */
const create = (speed: (share: number) => number = () => 1): TraceStep[] => [
  step('cpu/siglip2', 2.3e9, 7.7e7, 42, { speed }),
  step('cpu/dinov3', 13.4e9, 7e7, 82, { speed }),
  step('cpu/style', 4.8e9, 9.6e8, 240, { speed }),
];

describe('within 30 % after the first tenth, for work that this machine has done before', () => {
  test('as ever', () => {
    expect(worstError(play(create(), ratesOf(create())))).toBeLessThan(0.1);
  });

  test('a table that is a quarter off, either way', () => {
    for (const factor of [0.75, 1.25])
      expect(
        worstError(
          play(
            create(),
            ratesOf(create(), () => factor),
          ),
        ),
      ).toBeLessThan(0.3);
  });

  test('a fast start: the first bytes come from memory', () => {
    const read = [step('disk/verify', 16e9, 2e8, 400, { speed: (share) => (share < 0.05 ? 10 : 1) })];
    expect(worstError(play(read, ratesOf(read)))).toBeLessThan(0.3);
  });

  test('a slow start: a disk that has to spin up', () => {
    const read = [step('disk/verify', 16e9, 2e8, 400, { speed: (share) => (share < 0.01 ? 0.25 : 1) })];
    expect(worstError(play(read, ratesOf(read)))).toBeLessThan(0.3);
  });

  test('a disk at half and at twice its usual speed', () => {
    const read = [step('disk/verify', 16e9, 2e8, 400)];
    for (const factor of [2, 0.5])
      expect(
        worstError(
          play(
            read,
            ratesOf(read, () => factor),
          ),
        ),
      ).toBeLessThan(0.3);
  });

  test('another program takes a third of the machine', () => {
    expect(
      worstError(
        play(
          create(),
          ratesOf(create(), () => 1.5),
        ),
      ),
    ).toBeLessThan(0.3);
  });

  test('one step alone is slower than ever', () => {
    for (const kind of ['cpu/siglip2', 'cpu/style']) {
      expect(
        worstError(
          play(
            create(),
            ratesOf(create(), (one) => (one === kind ? 1.5 : 1)),
          ),
        ),
      ).toBeLessThan(0.3);
    }
  });

  test('a machine that grows hot and slower by a quarter', () => {
    expect(
      worstError(
        play(
          create((share) => 1 - share / 4),
          ratesOf(create()),
        ),
      ),
    ).toBeLessThan(0.3);
  });

  test('pieces of very different size', () => {
    const bursts = [step('cpu/thumbnails', 1000, 50, 1000, { noise: 0.7 })];
    expect(worstError(play(bursts, ratesOf(bursts)))).toBeLessThan(0.3);
  });

  test('any mix of steps, with a table that is up to a sixth off', () => {
    const mix = fc.array(
      fc.record({
        units: fc.integer({ min: 10, max: 1e9 }),
        seconds: fc.integer({ min: 5, max: 500 }),
        off: fc.double({ min: 0.86, max: 1.16, noNaN: true }),
      }),
      { minLength: 1, maxLength: 5 },
    );
    fc.assert(
      fc.property(mix, fc.nat(), (list, seed) => {
        const steps = list.map(({ units, seconds }, i) => step(`kind ${i}`, units, units / seconds, 60, { seed: seed + i }));
        const stored = ratesOf(steps, (kind) => list[Number(kind.split(' ')[1])]!.off);
        expect(worstError(play(steps, stored))).toBeLessThan(0.3);
      }),
      { numRuns: 200 },
    );
  });
});

describe('elsewhere', () => {
  test('a machine that has done nothing yet says nothing before it knows, and is right about steady work soon', () => {
    const read = [step('disk/verify', 16e9, 2e8, 400)];
    expect(new EtaEstimator(new Map()).update([{ kind: 'a', done: 0, total: 10 }], 0)).toBeUndefined();
    expect(worstError(play(read, new Map()))).toBeLessThan(0.3);
  });

  test('a guess stands in until something is measured', () => {
    const eta = new EtaEstimator(new Map());
    expect(eta.update([{ kind: 'a', done: 0, total: 10, guess: 2 }], 0)).toEqual({ done: 0, left: 5 });
    expect(eta.update([{ kind: 'a', done: 5, total: 10, guess: 2 }], 10)?.left).toBeCloseTo(10);
  });

  test('a first job on a machine of half the guessed speed expects that of the steps to come', () => {
    const eta = new EtaEstimator(new Map());
    const work = (done: number): WorkItem[] => [
      { kind: 'a', done, total: 10, guess: 1 },
      { kind: 'b', done: 0, total: 100, guess: 1 },
    ];
    expect(eta.update(work(0), 0)?.left).toBe(110);
    const { left = 0 } = eta.update(work(10), 20) ?? {};
    expect(left).toBeGreaterThan(190);
    expect(left).toBeLessThanOrEqual(200);
  });

  test('the first piece of a step, much slower than the rest of it, says little', () => {
    const eta = new EtaEstimator(new Map());
    const work = (a: number, b: number): WorkItem[] => [
      { kind: 'a', done: a, total: 10, guess: 1 },
      { kind: 'b', done: b, total: 100, guess: 1 },
    ];
    eta.update(work(0, 0), 0);
    eta.update(work(10, 0), 10);
    expect(eta.update(work(10, 0.01), 10.2)?.left).toBeLessThan(130);
  });

  test('what was done before this run is done, and says nothing of this run’s speed', () => {
    const eta = new EtaEstimator(new Map([['a', 1]]));
    expect(eta.update([{ kind: 'a', done: 90, total: 100 }], 1000)).toEqual({ done: 90, left: 10 });
    expect(eta.measured()).toEqual([{ kind: 'a', units: 0, seconds: 0 }]);
  });

  test('kinds that go on side by side share the time', () => {
    const eta = new EtaEstimator(new Map([['a', 1], ['b', 1]])); // prettier-ignore
    eta.update([{ kind: 'a', done: 0, total: 10 }, { kind: 'b', done: 0, total: 30 }], 0); // prettier-ignore
    eta.update([{ kind: 'a', done: 1, total: 10 }, { kind: 'b', done: 3, total: 30 }], 4); // prettier-ignore
    expect(eta.measured()).toEqual([{ kind: 'a', units: 1, seconds: 1 }, { kind: 'b', units: 3, seconds: 3 }]); // prettier-ignore
  });

  test('time in which nothing was finished counts for what is finished next', () => {
    const eta = new EtaEstimator(new Map());
    for (const seconds of [0, 1, 2, 3]) eta.update([{ kind: 'a', done: 0, total: 2 }], seconds);
    expect(eta.update([{ kind: 'a', done: 1, total: 2 }], 4)?.left).toBeCloseTo(4);
  });

  test('a clock that stands still, work that shrinks, nothing to do: never a number that is none', () => {
    const item = fc.record({ kind: fc.constantFrom('a', 'b'), done: fc.nat(10), total: fc.nat(10) });
    const updates = fc.array(fc.tuple(fc.uniqueArray(item, { selector: ({ kind }) => kind }), fc.nat(5)), { maxLength: 10 });
    fc.assert(
      fc.property(updates, fc.boolean(), (list, known) => {
        const eta = new EtaEstimator(known ? new Map([['a', 2], ['b', 0.5]]) : new Map()); // prettier-ignore
        for (const [work, seconds] of list) {
          const time = eta.update(work, seconds);
          if (time)
            expect(Number.isFinite(time.left) && time.left >= 0 && Number.isFinite(time.done), JSON.stringify(time)).toBe(true);
        }
        for (const { units, seconds } of eta.measured()) expect(units >= 0 && seconds >= 0).toBe(true);
      }),
    );
  });
});

describe('the table of rates', () => {
  test('the first measure stands; later ones move it, long runs more than short ones', () => {
    expect(averageRate(undefined, { kind: 'a', units: 10, seconds: 2 })).toBe(5);
    const long = averageRate(5, { kind: 'a', units: 200, seconds: 20 })!;
    const short = averageRate(5, { kind: 'a', units: 1, seconds: 0.1 })!;
    expect(long).toBeGreaterThan(short);
    expect(short).toBeGreaterThan(5);
    expect(long).toBeLessThan(10);
  });

  test('it comes to what the machine does now', () => {
    let rate: number | undefined = 5;
    for (let run = 0; run < 12; run++) rate = averageRate(rate, { kind: 'a', units: 400, seconds: 20 });
    expect(Math.abs(rate! - 20)).toBeLessThan(1);
  });

  test('no measure, no change', () => {
    expect(averageRate(5, { kind: 'a', units: 0, seconds: 3 })).toBe(5);
    expect(averageRate(undefined, { kind: 'a', units: 3, seconds: 0 })).toBeUndefined();
  });
});

describe('progress of a run', () => {
  test('time left and fraction follow from the work, speed from the bytes; what the run says itself stands', () => {
    const progress = new RunProgress(new Map([['a', 10]]));
    const at = (done: number) => ({ step: 's', stage: '', work: [{ kind: 'a', done, total: 100 }], bytesDone: done * 1000 });
    expect(progress.update(at(0), 0)).toEqual({ step: 's', stage: '', bytesDone: 0, etaSeconds: 10, fraction: 0 });
    const later = progress.update(at(50), 5);
    expect(later.fraction).toBeCloseTo(0.5);
    expect(later.etaSeconds).toBeCloseTo(5);
    expect(later.bytesPerSecond).toBeCloseTo(10_000);
    expect(progress.update({ ...at(60), etaSeconds: 1, bytesPerSecond: 3 }, 6)).toMatchObject({ etaSeconds: 1, bytesPerSecond: 3 });
  });

  test('the time left goes by between two updates, down to nothing', () => {
    const progress = new RunProgress(new Map([['a', 10]]));
    expect(progress.at(3)).toBeUndefined();
    progress.update({ step: 's', stage: '', work: [{ kind: 'a', done: 20, total: 100 }] }, 5);
    expect(progress.at(5)).toMatchObject({ etaSeconds: 8, fraction: 0.2 });
    expect(progress.at(7)?.etaSeconds).toBeCloseTo(6);
    expect(progress.at(7)?.fraction).toBeCloseTo(0.4);
    expect(progress.at(4)).toMatchObject({ etaSeconds: 8 });
    expect(progress.at(99)).toMatchObject({ etaSeconds: 0, fraction: 0.99 });
    progress.update({ step: 's', stage: '' }, 100);
    expect(progress.at(200)).toEqual({ step: 's', stage: '' });
  });

  test('a second word in the same moment tells no speed', () => {
    const progress = new RunProgress(new Map());
    for (const bytesDone of [0, 10, 20])
      expect(progress.update({ step: 's', stage: '', bytesDone }, 1)).not.toHaveProperty('bytesPerSecond');
    expect(progress.update({ step: 's', stage: '', bytesDone: 40 }, 2).bytesPerSecond).toBe(40);
  });
});
