import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failureOf, runCli } from '../cli/run-cli.ts';
import { makeTinyModels, styleTiny } from '../cli/tiny-models.ts';

/** A disk of one megabyte and one that can't be written, mounted for the test: Linux and root alone. */
const image = new URL('../../resources/examples/hills.jpg', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'i2l-disk-'));
const models = join(folder, 'models');
const [small, readOnly] = [join(folder, 'small'), join(folder, 'read-only')];
let refusal: string | undefined;

beforeAll(() => {
  makeTinyModels(models, { ...styleTiny, hidden: 256, blocks: 8 });
  try {
    for (const [path, options] of [
      [small, 'size=1m'],
      [readOnly, 'size=2m,ro'],
    ] as const) {
      mkdirSync(path);
      execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'pipe' });
    }
  } catch (error) {
    refusal = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    console.warn(`SKIPPED: full and read-only disks; they can't be mounted here (${refusal})`);
  }
});

afterAll(() => {
  for (const path of [small, readOnly]) {
    try {
      execFileSync('umount', [path], { stdio: 'pipe' });
    } catch {
      // It was never mounted.
    }
  }
  rmSync(folder, { recursive: true, force: true });
});

const create = (output: string) =>
  runCli(['create', image, '--models', models, '-o', output, '--device', 'cpu', '--dtype', 'f32', '--json']);

test('a full disk is told by the name of the file, and nothing stays', async (context) => {
  if (refusal !== undefined) context.skip(refusal);
  const output = join(small, 'lora.safetensors');
  writeFileSync(join(small, 'other'), Buffer.alloc(100_000, 1));
  expect(failureOf(await create(output), 'DISK_FULL').message).toContain(output);
  expect(readdirSync(small)).toEqual(['other']);
});

test('a read-only disk', async (context) => {
  if (refusal !== undefined) context.skip(refusal);
  const output = join(readOnly, 'lora.safetensors');
  const { message } = failureOf(await create(output), 'FILE_WRITE_FAILED');
  expect(message).toContain(output);
  expect(message).toContain('read-only');
});
