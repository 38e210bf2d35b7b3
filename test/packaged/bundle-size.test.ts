import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { randomBytes } from '../models/downloads.ts';
import { tempFolder } from '../unit/temp.ts';
import { measure, sizeLine } from './bundle-size.ts';

/** The measure itself; the built app's sizes are in packaged.test.ts, where it is built. */
const out = tempFolder();
const FILES = ['renderer/assets/index-1.js', 'renderer/assets/index-1.css', 'main/index.js', 'main/engine.js', 'preload/index.cjs'];

function write(file: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(join(out, file)), { recursive: true });
  writeFileSync(join(out, file), bytes);
}
for (const file of FILES) write(file, 'export {};');

const over = (): string[] => measure(out).flatMap(({ part, over: kinds }) => kinds.map((kind) => `${part}, ${kind}`));

test('a small build is within its budgets', () => {
  expect(over()).toEqual([]);
  expect(measure(out).map(sizeLine)[0]).toMatch(/^page, scripts: 0[.]0 of 650[.]0 kB, compressed 0[.]0 of 206[.]0 kB$/);
});

test('a part that outgrew its budget is told; also when it was cut into several files', () => {
  write('renderer/assets/other-2.css', '.a{color:red}'.repeat(3400));
  expect(over()).toEqual(['page, styles, raw']);
  for (const i of [1, 2]) write(`renderer/assets/chunk-${i}.js`, randomBytes(110_000, i));
  expect(over()).toEqual(['page, scripts, gzip', 'page, styles, raw']);
});

test('a part of which nothing is found is no small part', () => {
  rmSync(join(out, 'preload'), { recursive: true });
  expect(() => measure(out)).toThrow(/preload/);
});
