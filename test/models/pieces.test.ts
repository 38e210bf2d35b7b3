import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { I2lError } from '../../main/contract/errors.ts';
import { parseRetryAfter, RETRY_TIMES, waitAfter } from '../../main/weights/hub/backoff.ts';
import { BlockPool, type Run } from '../../main/weights/hub/block-pool.ts';
import { checkSpace, freeSpace } from '../../main/weights/hub/free-space.ts';
import { shownUrl } from '../../main/weights/hub/http.ts';
import { Meter } from '../../main/weights/hub/meter.ts';
import { RateLimit } from '../../main/weights/hub/rate-limit.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

describe('the pool of blocks', () => {
  const step = fc.record({
    act: fc.constantFrom('claim', 'finish', 'fail', 'undo'),
    which: fc.nat(),
    connections: fc.integer({ min: 1, max: 8 }),
  });

  test('hands out every block once at a time, whatever fails and in whatever order, and counts right', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 500 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.nat(20)),
        fc.array(step, { maxLength: 60 }),
        (size, blockSize, done, steps) => {
          const pool = new BlockPool(size, blockSize, done);
          const has = new Set(done.filter((block) => block < pool.count));
          const open: Run[] = [];
          const blocksOf = (run: Run): number[] => Array.from({ length: run.count }, (_, i) => run.first + i);
          for (const { act, which, connections } of steps) {
            if (act === 'claim') {
              const run = pool.claim(16, connections);
              const taken = new Set([...has, ...open.flatMap(blocksOf)]);
              if (!run) expect(taken.size).toBe(pool.count);
              else {
                for (const block of blocksOf(run)) expect(taken.has(block) || block >= pool.count).toBe(false);
                expect(run.count).toBeGreaterThan(0);
                open.push(run);
              }
            } else if (act === 'undo') {
              const block = [...has][which % Math.max(1, has.size)];
              if (block === undefined) continue;
              pool.undo(block);
              has.delete(block);
            } else {
              const [run] = open.splice(which % Math.max(1, open.length), 1);
              if (!run) continue;
              // A failure brings a part of its run.
              const brought = act === 'finish' ? run.count : which % run.count;
              for (const block of blocksOf(run).slice(0, brought)) {
                pool.done(block);
                has.add(block);
              }
              pool.giveBack(run);
            }
            const bytes = [...has].reduce((sum, block) => sum + pool.range(block).end - pool.range(block).start, 0);
            expect(pool.bytesDone).toBe(bytes);
            expect(pool.isDone).toBe(has.size === pool.count);
          }
        },
      ),
    );
  });

  test('long runs while there is much to do, single blocks at the end', () => {
    const pool = new BlockPool(1000, 1);
    const counts: number[] = [];
    for (let run = pool.claim(16, 4); run; run = pool.claim(16, 4)) counts.push(run.count);
    expect(counts[0]).toBe(16);
    expect(counts.slice(-4)).toEqual([1, 1, 1, 1]);
  });
});

describe('waiting', () => {
  test('doubles, with chance in it, up to a bound', () => {
    const error = new I2lError('HUB_UNREACHABLE', 'x');
    const waits = [1, 2, 3, 10].map((failures) => waitAfter(error, failures, RETRY_TIMES, () => 1));
    expect(waits).toEqual([500, 1000, 2000, 30_000]);
    expect(waitAfter(error, 3, RETRY_TIMES, () => 0)).toBe(1000);
  });

  test('is as long as the server asks', () => {
    const now = Date.UTC(2026, 0, 1);
    expect(waitAfter(new I2lError('RATE_LIMITED', 'x', { retryAfterMs: 7 }), 5, RETRY_TIMES)).toBe(7);
    expect(parseRetryAfter('120')).toBe(120_000);
    expect(parseRetryAfter('Thu, 01 Jan 2026 00:00:30 GMT', now)).toBe(30_000);
    expect(parseRetryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0);
    expect([parseRetryAfter('soon'), parseRetryAfter(undefined)]).toEqual([undefined, undefined]);
  });
});

test('a limit spreads bytes evenly, over whoever takes them', () => {
  let now = 0;
  const limit = new RateLimit(1000, () => now);
  expect(limit.spend(250)).toBe(0);
  expect(limit.spend(500)).toBeCloseTo(500);
  expect(limit.spend(100)).toBeCloseTo(600);
  now = 600;
  expect(limit.spend(10)).toBeCloseTo(10);
  now = 1_000_000;
  expect(limit.spend(251)).toBeCloseTo(1);
  expect(new RateLimit(undefined).spend(1e12)).toBe(0);
});

test('speed is that of the last seconds', () => {
  let now = 0;
  const meter = new Meter(() => now);
  for (let second = 0; second < 20; second++) {
    now += 1000;
    meter.came(second < 10 ? 100 : 1000);
  }
  expect(meter.bytesPerSecond).toBeCloseTo(1000);
  now += 60_000;
  expect(meter.bytesPerSecond).toBeLessThan(100);
  meter.settled(11_000);
  expect([meter.bytes, meter.open]).toEqual([11_000, 0]);
});

test('an address is shown without what is secret in it', () => {
  expect(shownUrl('https://me:pw@cdn.example/a/b?X-Amz-Signature=1#x')).toBe('https://cdn.example/a/b');
  expect(shownUrl('nonsense')).toBe('an unusable address');
});

describe('free space', () => {
  const folder = tempFolder();

  test('is asked of the nearest folder that is there', async () => {
    const here = await freeSpace(folder);
    expect(here).toBeGreaterThan(0);
    expect(Math.abs(((await freeSpace(`${folder}/not/yet/there`)) ?? 0) - (here ?? 0))).toBeLessThan(1e9);
  });

  test('too little is told with both numbers', async () => {
    const error = await rejectionOf(checkSpace('/x/model', 5e9, async () => 2.5e9));
    expect(error).toMatchObject({ code: 'DISK_FULL', fields: { needed: 5e9, free: 2.5e9 } });
    expect(error.message).toContain('5.0 GB');
    await checkSpace('/x/model', 5e9, async () => undefined);
    await checkSpace('/x/model', 5e9, async () => 6e9);
  });
});
