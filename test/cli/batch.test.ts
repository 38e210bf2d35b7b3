import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { tempFolder } from '../unit/temp.ts';
import { doneOf, linesOf, runCli, type CliRun } from './run-cli.ts';
import { makeTinyModels } from './tiny-models.ts';

/** i2l batch on a folder of folders, and again. */
const folder = tempFolder();
const models = join(folder, 'models');
const styles = join(folder, 'styles');
let runs = 0;

beforeAll(async () => {
  makeTinyModels(models);
  for (const [i, style] of ['ash', 'birch', 'cedar', 'damson'].entries()) {
    mkdirSync(join(styles, style), { recursive: true });
    for (const n of [1, 2]) {
      const background = { r: 60 * i, g: 100 * n, b: 200 - 40 * i };
      await sharp({ create: { width: 40, height: 40, channels: 3, background } })
        .png()
        .toFile(join(styles, style, `${n}.png`));
    }
  }
});

const fresh = (): string => join(folder, `out-${runs++}`);
const batch = (source: string, output: string, ...args: string[]): Promise<CliRun> =>
  runCli(['batch', source, '-o', output, '--models', models, '--device', 'cpu', '--json', ...args]);
const namesIn = (path: string): string[] => readdirSync(path).sort();
const NAMES = ['ash', 'birch', 'cedar', 'damson'].map((name) => `${name}.safetensors`);

test('one LoRA a set, as create makes it; a second run leaves them, and does what is missing or other', async () => {
  const output = fresh();
  const first = doneOf(await batch(styles, output));
  expect(first).toMatchObject({ loras: 4, failedSets: 0, images: 8 });
  expect(namesIn(output)).toEqual(NAMES);
  const alone = join(folder, 'alone.safetensors');
  doneOf(
    await runCli(['create', join(styles, 'cedar'), '--models', models, '--device', 'cpu', '--no-cache', '-o', alone, '--json']),
  );
  expect(readFileSync(join(output, 'cedar.safetensors')).equals(readFileSync(alone))).toBe(true);

  const before = NAMES.map((name) => statSync(join(output, name)).mtimeMs);
  const again = await batch(styles, output);
  expect([again.code, JSON.parse(again.stdout.trim().split('\n').at(-1) ?? '')]).toEqual([
    0,
    { type: 'batch', sets: 4, finished: 4 },
  ]);
  expect(NAMES.map((name) => statSync(join(output, name)).mtimeMs)).toEqual(before);

  rmSync(join(output, 'ash.safetensors'));
  writeFileSync(join(output, 'birch.safetensors'), readFileSync(join(output, 'birch.safetensors')).subarray(0, -10));
  copyFileSync(join(output, 'damson.safetensors'), join(output, 'cedar.safetensors'));
  const third = await batch(styles, output);
  expect(doneOf(third)).toMatchObject({ loras: 3, cached: 12 });
  expect(linesOf(third, 'lora').map((lora) => lora.output)).toEqual(NAMES.slice(0, 3).map((name) => join(output, name)));
  expect(readFileSync(join(output, 'cedar.safetensors')).equals(readFileSync(alone))).toBe(true);

  expect(doneOf(await batch(styles, output, '--dtype', 'f32'))).toMatchObject({ loras: 4 });
});

test('parts of a batch are disjoint and together all of it', async () => {
  const output = fresh();
  doneOf(await batch(styles, output, '--shard', '1/3'));
  expect(namesIn(output)).toEqual(['ash.safetensors', 'damson.safetensors']);
  const env = { SLURM_ARRAY_TASK_ID: '2', SLURM_ARRAY_TASK_MIN: '1', SLURM_ARRAY_TASK_COUNT: '3' };
  const args = ['batch', styles, '-o', output, '--models', models, '--device', 'cpu', '--json'];
  doneOf(await runCli(args, { env }));
  doneOf(await runCli([...args, '--shard', 'auto/3'], { env: { JOB_COMPLETION_INDEX: '2' } }));
  expect(namesIn(output)).toEqual(NAMES);
});

test('a set with a bad image is told and the others are made; exit code 1', async () => {
  const source = join(folder, 'with-bad');
  for (const name of ['bad', 'good']) mkdirSync(join(source, name), { recursive: true });
  copyFileSync(join(styles, 'ash', '1.png'), join(source, 'good', '1.png'));
  copyFileSync(join(styles, 'ash', '1.png'), join(source, 'bad', '1.png'));
  writeFileSync(join(source, 'bad', '2.png'), 'no image');
  for (let i = 1; i <= 6; i++) mkdirSync(join(source, `none ${i}`));
  const output = fresh();
  const run = await batch(source, output);
  expect(run.code).toBe(1);
  expect(linesOf(run, 'set-failed')).toMatchObject([
    { output: join(output, 'bad.safetensors'), error: { code: 'IMAGES_REFUSED' } },
  ]);
  expect(namesIn(output)).toEqual(['good.safetensors']);
  const words = await runCli(['batch', source, '-o', fresh(), '--models', models, '--device', 'cpu']);
  expect(words.stderr).toMatch(/Not made: .*bad\.safetensors: 1 of 2 images can't be used/);
  expect(words.stderr).toContain('Without an image, and left out: none 1, none 2, none 3, none 4, none 5 and 1 other folder.');
  expect(words.stdout).toMatch(/^1 LoRA, 1 image set could not be made\n/);

  expect(doneOf(await batch(source, output, '--skip-bad'))).toMatchObject({ images: 1, output: join(output, 'bad.safetensors') });
  const finished = await batch(source, output, '--skip-bad');
  expect(JSON.parse(finished.stdout.trim().split('\n').at(-1) ?? '')).toEqual({ type: 'batch', sets: 2, finished: 2 });
});
