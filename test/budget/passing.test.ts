import { execFile } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ENGINE_ARGUMENTS, ENGINE_ENVIRONMENT } from '../../main/engine-process.ts';
import { tempFolder } from '../unit/temp.ts';

/** Where threads share stages, what they have goes when it is no longer used. */
const MIB = 2 ** 20;

/** The most memory that a process like the engine's takes. */
async function peakOf(script: string, ...args: readonly string[]): Promise<number> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const env = { ...process.env, ...ENGINE_ENVIRONMENT };
  const { stdout } = await promisify(execFile)(process.execPath, [...ENGINE_ARGUMENTS, path, ...args], { env });
  return Number(stdout);
}

test('state that no stage takes any more', async () => {
  const state = 64 * MIB;
  const [few, many] = [await peakOf('passing-run.ts', '2'), await peakOf('passing-run.ts', '10')];
  expect(few).toBeGreaterThan(2 * state);
  expect(many - few).toBeLessThan(state);
});

test('the weights of a network that has run', async () => {
  const weight = 32 * MIB;
  const file = join(tempFolder(), 'weights');
  writeFileSync(file, '');
  truncateSync(file, 4 * weight);
  const [once, again] = [await peakOf('again-run.ts', file, '1'), await peakOf('again-run.ts', file, '3')];
  expect(once).toBeGreaterThan(4 * weight);
  expect(again - once).toBeLessThan(weight);
});
