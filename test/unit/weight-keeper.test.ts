import { renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PlacedRead } from '../../main/offload/placed-reads.ts';
import { KeeperOverfull, WeightKeeper, weightsKey } from '../../main/offload/weight-keeper.ts';
import { tempFolder } from './temp.ts';

const readOf = (file: string, offset: number, length: number): PlacedRead => ({ file, offset, length, at: 0 });

/** Goes through groups as a job does: each one's weights are found, or read and kept if there is room. @returns those that were found */
function job(keeper: WeightKeeper, room: number, groups: Readonly<Record<string, number>>): string[] {
  keeper.begin(room);
  const found: string[] = [];
  for (const [name, bytes] of Object.entries(groups)) {
    if (keeper.find(name)) {
      found.push(name);
      continue;
    }
    const buffer = keeper.bufferFor(bytes);
    if (buffer) keeper.keep(name, buffer, [readOf(name, 100, bytes)]);
  }
  return found;
}

test('the next job finds what there was room for, and the same again', () => {
  const keeper = new WeightKeeper();
  const groups = { a: 40, b: 40, c: 40, d: 10 };
  expect(job(keeper, 100, groups)).toEqual([]);
  for (let i = 0; i < 3; i++) expect(job(keeper, 100, groups)).toEqual(['a', 'b', 'd']);
  expect({ bytes: keeper.bytes, size: keeper.size }).toEqual({ bytes: 90, size: 3 });
});

test('it tells of which weights it has bytes', () => {
  const keeper = new WeightKeeper();
  job(keeper, 100, { a: 40, b: 90 });
  const held = [99, 100, 139, 140].map((offset) => keeper.holds({ file: 'a', offset }));
  expect(held).toEqual([false, true, true, false]);
  expect(keeper.holds({ file: 'b', offset: 100 })).toBe(false);
});

test('what two jobs have not used makes place, the oldest first', () => {
  const keeper = new WeightKeeper();
  job(keeper, 100, { old: 50 });
  job(keeper, 100, { newer: 50 });
  expect(job(keeper, 100, { other: 50 })).toEqual([]); // Old was used two jobs ago, and newer by the last one.
  expect(job(keeper, 100, { newer: 50, other: 50 })).toEqual(['newer', 'other']);
  expect(job(keeper, 100, { old: 50 })).toEqual([]);
  expect(job(keeper, 100, { newer: 50, other: 50 })).toEqual(['newer', 'other']);
});

test('a job that leaves less room than is held is refused before it changes anything', () => {
  const keeper = new WeightKeeper();
  job(keeper, 100, { a: 60 });
  expect(() => keeper.begin(59)).toThrow(KeeperOverfull);
  expect(job(keeper, 60, { a: 60 })).toEqual(['a']);
});

const jobs = fc.array(fc.record({ room: fc.nat(200), from: fc.nat(12), count: fc.integer({ min: 1, max: 12 }) }), {
  maxLength: 12,
});

test('never past the room; what is found is what was kept under that name', () => {
  const sizes = Array.from({ length: 24 }, (_, i) => 5 + ((i * 37) % 60));
  const property = fc.property(jobs, (asked) => {
    const keeper = new WeightKeeper();
    const made = new Map<string, SharedArrayBuffer>();
    for (const { room, from, count } of asked) {
      if (keeper.bytes > room) {
        expect(() => keeper.begin(room)).toThrow(KeeperOverfull);
        continue;
      }
      keeper.begin(room);
      for (let i = from; i < from + count; i++) {
        const name = String(i);
        const found = keeper.find(name);
        if (found) {
          expect(found).toBe(made.get(name));
          continue;
        }
        const buffer = keeper.bufferFor(sizes[i] as number);
        if (buffer) keeper.keep(name, buffer, []);
        if (buffer) made.set(name, buffer);
        expect(keeper.bytes).toBeLessThanOrEqual(room);
      }
    }
    const held = [...made].filter(([name, buffer]) => keeper.find(name) === buffer);
    expect(held).toHaveLength(keeper.size);
    expect(held.reduce((sum, [, { byteLength }]) => sum + byteLength, 0)).toBe(keeper.bytes);
  });
  fc.assert(property, { seed: 11, numRuns: 500 });
});

describe('weights are the same by their places and their files', () => {
  const folder = tempFolder();
  const file = join(folder, 'weights');
  writeFileSync(file, 'as long');
  const key = (): string => weightsKey([readOf(file, 0, 3), readOf(file, 4, 2)]);

  test('wherever they lie in a buffer', () => {
    expect(weightsKey([readOf(file, 0, 3), { ...readOf(file, 4, 2), at: 64 }])).toBe(key());
  });

  test('other places are others', () => {
    const others = [[readOf(file, 0, 3)], [readOf(file, 0, 3), readOf(file, 4, 3)], [readOf(file, 0, 3), readOf(file, 5, 2)]];
    expect(new Set([key(), ...others.map(weightsKey)]).size).toBe(4);
  });

  test('a file that was written again, or took the place of another with its times, is another', () => {
    const before = key();
    const { atime, mtime } = statSync(file);
    expect(key()).toBe(before);
    utimesSync(file, atime, new Date(2020, 1));
    const touched = key();
    writeFileSync(`${file}.new`, 'as long');
    utimesSync(`${file}.new`, atime, mtime);
    renameSync(`${file}.new`, file);
    expect(new Set([before, touched, key()]).size).toBe(3);
  });

  test('one that is gone is for the read to name', () => {
    expect(weightsKey([readOf(join(folder, 'gone'), 0, 3)])).toHaveLength(64);
  });
});
