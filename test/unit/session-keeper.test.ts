import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeeperOverfull, SessionKeeper } from '../../main/offload/session-keeper.ts';

/** A session that notes its end. */
class FakeSession {
  readonly name: string;
  released = 0;

  constructor(name: string) {
    this.name = name;
  }

  run(): Promise<never> {
    return Promise.reject(new Error('it is not to be run here'));
  }

  release(): Promise<void> {
    this.released++;
    return Promise.resolve();
  }
}

/** Goes through stages as a job does: each session is found, or made and handed over. @returns those that were found */
async function job(keeper: SessionKeeper, room: number, stages: Readonly<Record<string, number>>, savedMs = 1): Promise<string[]> {
  keeper.begin(room);
  const found: string[] = [];
  for (const [name, bytes] of Object.entries(stages)) {
    if (keeper.find(name)) found.push(name);
    else await keeper.keep(name, new FakeSession(name), { name, bytes, savedMs });
  }
  return found;
}

test('the next job finds what there was room for, and the same again', async () => {
  const keeper = new SessionKeeper();
  const stages = { a: 40, b: 40, c: 40, d: 10 };
  expect(await job(keeper, 100, stages)).toEqual([]);
  for (let i = 0; i < 3; i++) expect(await job(keeper, 100, stages)).toEqual(['a', 'b', 'd']);
  expect({ bytes: keeper.bytes, size: keeper.size }).toEqual({ bytes: 90, size: 3 });
  expect([keeper.hasNamed('a'), keeper.hasNamed('c')]).toEqual([true, false]);
});

test('what two jobs have not used makes place, the least worth first', async () => {
  const keeper = new SessionKeeper();
  keeper.begin(100);
  const [slow, quick] = [new FakeSession('slow'), new FakeSession('quick')];
  await keeper.keep('slow', slow, { name: 'slow', bytes: 50, savedMs: 100 });
  await keeper.keep('quick', quick, { name: 'quick', bytes: 50, savedMs: 10 });
  expect(await job(keeper, 100, { other: 50 })).toEqual([]);
  expect([slow.released, quick.released, keeper.hasNamed('other')]).toEqual([0, 0, false]);
  await job(keeper, 100, { other: 50 });
  expect([slow.released, quick.released, keeper.hasNamed('other')]).toEqual([0, 1, true]);
});

test('a job that leaves less room than is held is refused before it changes anything', async () => {
  const keeper = new SessionKeeper();
  await job(keeper, 100, { a: 60 });
  expect(() => keeper.begin(59)).toThrow(KeeperOverfull);
  expect(await job(keeper, 60, { a: 60 })).toEqual(['a']);
});

const jobs = fc.array(
  fc.record({ room: fc.nat(200), from: fc.nat(12), count: fc.integer({ min: 1, max: 12 }), savedMs: fc.nat(50) }),
  { maxLength: 12 },
);

test('never past the room; each session is held or released, once', async () => {
  const sizes = Array.from({ length: 24 }, (_, i) => 5 + ((i * 37) % 60));
  const property = fc.asyncProperty(jobs, async (asked) => {
    const keeper = new SessionKeeper();
    const made: FakeSession[] = [];
    for (const { room, from, count, savedMs } of asked) {
      if (keeper.bytes > room) {
        expect(() => keeper.begin(room)).toThrow(KeeperOverfull);
        continue;
      }
      keeper.begin(room);
      for (let i = from; i < from + count; i++) {
        const name = String(i);
        const found = keeper.find(name) as FakeSession | undefined;
        expect([undefined, name]).toContain(found?.name);
        expect(found?.released ?? 0).toBe(0);
        if (found) continue;
        const session = new FakeSession(name);
        made.push(session);
        await keeper.keep(name, session, { name, bytes: sizes[i] as number, savedMs });
        expect(keeper.bytes).toBeLessThanOrEqual(room);
      }
    }
    expect(made.every(({ released }) => released <= 1)).toBe(true);
    const held = made.filter(({ released }) => released === 0);
    expect(held).toHaveLength(keeper.size);
    expect(held.reduce((sum, { name }) => sum + (sizes[Number(name)] as number), 0)).toBe(keeper.bytes);
  });
  await fc.assert(property, { seed: 11, numRuns: 500 });
});
