import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { Database } from '../../main/library/database.ts';
import { makeImages } from '../library/make-images.ts';
import { makeLora } from '../library/make-loras.ts';
import { tempFolder } from '../unit/temp.ts';
import { runCli, type CliRun } from './run-cli.ts';
import { makeTinyModels } from './tiny-models.ts';

/** i2l library and i2l sets, and what the commands that make LoRAs put there. */
const base = tempFolder();
let count = 0;
let folder: string;
let home: string;

beforeEach(() => {
  folder = join(base, `${count++}`);
  home = join(folder, 'home');
  mkdirSync(folder, { recursive: true });
});

const i2l = (...args: string[]): Promise<CliRun> => runCli(args, { env: { I2L_HOME: home } });

/** The last line of a --json run. */
async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await i2l(...args, '--json');
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
}

test('what create and batch make is there; what is made with --no-library is not', async () => {
  const models = join(folder, 'models');
  makeTinyModels(models);
  const images = join(folder, 'sets', 'ash');
  await makeImages(images, 2);
  const making = ['--models', models, '--device', 'cpu'];
  const named = join(folder, 'named.safetensors');
  expect((await i2l('create', images, ...making, '-o', join(folder, 'no.safetensors'), '--no-library')).code).toBe(0);
  expect(await json('library', 'ls')).toMatchObject({ total: 0 });
  expect((await i2l('create', images, ...making, '-o', named)).code).toBe(0);
  const out = join(folder, 'out');
  const batch = ['batch', join(folder, 'sets'), '-o', out, ...making];
  expect((await i2l(...batch)).code).toBe(0);
  const ash = join(out, 'ash.safetensors');
  expect(await json('library', 'ls')).toMatchObject({ total: 2, loras: [{ file: ash }, { file: named, imageCount: 2 }] });
  // A batch that ended before it could note one notes it when it is run again, and no other twice.
  const first = (await json('library', 'show', '2')) as { lora: { preview: string | null; experts: unknown[] } };
  expect([first.lora.preview, first.lora.experts]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), [expect.anything()]]);
  await i2l('library', 'rm', '2');
  await i2l('library', 'empty-trash');
  expect(existsSync(ash), 'outside of the data folder').toBe(true);
  expect((await i2l(...batch)).code).toBe(0);
  expect(await json('library', 'ls')).toMatchObject({ total: 2, loras: [{ file: ash }, { id: 1 }] });
});

test('a LoRA is made all the same where the library can’t be opened, and it is said', async () => {
  const models = join(folder, 'models');
  makeTinyModels(models);
  await makeImages(join(folder, 'in'), 1);
  mkdirSync(home);
  writeFileSync(join(home, 'library.db'), 'this is no database, and it is longer than a header');
  const output = join(folder, 'out.safetensors');
  const run = await i2l('create', join(folder, 'in'), '--models', models, '--device', 'cpu', '-o', output);
  expect([run.code, existsSync(output)]).toEqual([0, true]);
  expect(run.stderr).toMatch(/^The LoRA is written, but not noted in the library: .*library\.db: it is damaged/m);
});

test('LoRAs: import, tags, search, trash and back', async () => {
  const files = [1, 2].map((seed) => makeLora(join(folder, `lora-${seed}.safetensors`), seed).file);
  writeFileSync(join(folder, 'bad.safetensors'), 'nothing');
  const run = await i2l('library', 'import', ...files, files[0]!, join(folder, 'bad.safetensors'));
  expect(run.code).toBe(1);
  expect(run.stdout).toMatch(/^2 added, 1 there already, 1 not usable\n {2}.*lora-1.safetensors is there as number 1\n {2}! .*bad/);
  expect((await i2l('library', 'tag', '1', '--add', 'fox,red')).stdout).toBe('1 changed.\n');
  expect((await i2l('library', 'ls', '--text', 'fo', '--tag', 'red')).stdout).toMatch(
    /^ {4}1 {2}lora-1 \(qwen-image, rank 2, .*#fox, #red\)\n$/,
  );
  expect((await i2l('library', 'rm', '1', '2')).stdout).toBe('2 in the trash; i2l library undo brings them back.\n');
  expect((await i2l('library', 'ls')).stdout).toBe('There are no LoRAs.\n');
  expect(await json('library', 'undo', '2')).toMatchObject({ type: 'restored', restored: [2] });
  expect((await i2l('library', 'ls', '--limit', '1')).stdout).toMatch(/^ {4}2 {2}lora-2/);
  expect((await i2l('library', 'show', '2')).stdout).toContain(`${files[1]} (present)`);
  expect((await i2l('library', 'show', '99')).stderr).toBe('i2l: There is no LoRA number 99 in the library.\n');
  expect((await i2l('library', 'ls', '--limit', '0')).code).toBe(2);
});

test('check, backup and restore', async () => {
  const { file } = makeLora(join(folder, 'a.safetensors'), 1);
  await i2l('library', 'import', file);
  expect((await i2l('library', 'check')).stdout).toBe('The library is sound, and every file of it is there.\n');
  const backup = join(folder, 'kept.db');
  expect((await i2l('library', 'backup', '--to', backup)).stdout).toBe(`${backup}\n`);
  await i2l('library', 'rm', '1');
  const database = await Database.open(home, { role: 'guest', name: 'a test' });
  expect(await json('library', 'restore', backup)).toMatchObject({ error: { code: 'LIBRARY_IN_USE' } });
  await database.close();
  expect((await i2l('library', 'restore', backup)).stdout).toContain(`${backup} is the library now.`);
  expect(await json('library', 'ls')).toMatchObject({ total: 1 });
  rmSync(file);
  const check = await i2l('library', 'check');
  expect([check.code, check.stdout]).toEqual([1, `LoRA 1 is gone: ${file}\n`]);
  expect(await json('library', 'info')).toMatchObject({ loras: 1, sets: 0, folder: home });
}, 90_000);

test('image sets: a folder of folders, images one by one, a folder that changed', async () => {
  const [cat, dog] = [join(folder, 'in', 'cat'), join(folder, 'in', 'dog')];
  const cats = await makeImages(cat, 2);
  await makeImages(dog, 1);
  expect((await i2l('sets', 'import', join(folder, 'in'), '--each')).stdout).toBe(
    '    1  cat: 2 added, 0 changed, 0 moved, 0 gone\n    2  dog: 1 added, 0 changed, 0 moved, 0 gone\n',
  );
  rmSync(cats[0]!);
  expect((await i2l('sets', 'rescan', '1')).stdout).toBe('    1  cat: 0 added, 0 changed, 0 moved, 1 gone\n');
  expect(await json('sets', 'new', 'Mixed', dog, '--target', 'z-image', '--copy')).toMatchObject({
    type: 'added',
    added: [expect.anything()],
  });
  expect((await i2l('sets', 'add', '3', cat)).stdout).toContain('1 added, 0 there already, 0 not usable');
  expect((await i2l('sets', 'add', '3', join(folder, 'gone.png'))).stderr).toMatch(/^i2l: .*gone\.png: there is no such file/);
  expect((await i2l('sets', 'ls', '--text', 'mix')).stdout).toBe('    3  Mixed (2 images, z-image)\n');
  expect((await i2l('sets', 'show', '3')).stdout.split('\n')).toHaveLength(4);
  expect((await i2l('sets', 'copy', '3')).stdout).toBe('    4  Mixed copy (2 images, z-image)\n');
  expect(await json('sets', 'copy', '1', 'Cats again')).toMatchObject({
    set: { id: 5, name: 'Cats again', imageCount: 1, folder: null },
  });
  expect(await json('sets', 'rm', '4', '5')).toMatchObject({ removed: [4, 5] });
  expect((await i2l('sets', 'rm', '3')).code).toBe(0);
  expect(await json('sets', 'ls', '--trashed')).toMatchObject({ total: 3, sets: [{ id: 5 }, { id: 3 }, { id: 4 }] });
  expect(await json('sets', 'undo', '3')).toMatchObject({ restored: [3] });
});
