import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ByteRange } from '../../main/contract/tensor.ts';
import { readSpeedOf } from '../../main/offload/read-speed.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const MIB = 1 << 20;

/** A file of holes. */
function holes(name: string, bytes: number): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, bytes);
  return file;
}

const range = (file: string, offset: number, length: number): ByteRange => ({ name: file, shape: [length], file, offset, length });

test('weights over several files are tried; few bytes are not', () => {
  const files = ['a', 'b'].map((name) => holes(name, 64 * MIB));
  const ranges = files.map((file) => range(file, 8, 64 * MIB - 8));
  const speed = readSpeedOf(ranges) ?? Number.NaN;
  expect(speed).toBeGreaterThan(1e6);
  expect(speed).toBeLessThan(1e12);
  expect(readSpeedOf([range(files[0] as string, 8, 32 * MIB)])).toBeUndefined();
});

test('of a file that has gone, or is not made yet, nothing is known', () => {
  const file = holes('gone', 128 * MIB);
  expect(readSpeedOf([range(file, 8, 128 * MIB - 8)])).toBeDefined();
  rmSync(file);
  expect(readSpeedOf([range(file, 8, 128 * MIB - 8)])).toBeUndefined();
});

test('a file that ends early has no speed where nothing is left of it', () => {
  const file = holes('short', MIB);
  expect(readSpeedOf([range(file, 64 * MIB, 128 * MIB)])).toBeUndefined();
});

test('a system that is held up for a while is no slow disk; a file in memory in part is a slow one in part', () => {
  const bytes = 1000;
  const all = [range('/weights', 0, 80 * MIB)];
  let tries = 0;
  expect(readSpeedOf(all, () => ({ bytes, seconds: ++tries % 16 < 6 ? 10 : 1 }))).toBe(bytes);
  // The first quarter was read before.
  expect(readSpeedOf(all, ({ offset }) => ({ bytes, seconds: offset < 20 * MIB ? 0 : 4 }))).toBeCloseTo((bytes / 4) * (8 / 6));
});
