import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHash } from 'node:crypto';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { readValues } from '../../main/weights/values.ts';
import { doneOf, failureOf, linesOf, runCli, startCli, endOf, type CliRun } from './run-cli.ts';
import { makePublishedModels, makeTinyModels, modelFile, TINY_MODULES } from './tiny-models.ts';

const folder = mkdtempSync(join(tmpdir(), 'i2l-cli-'));
const models = join(folder, 'models');
const images = join(folder, 'images');
let count = 0;
const output = (): string => join(folder, `out-${count++}.safetensors`);

beforeAll(async () => {
  makeTinyModels(models);
  mkdirSync(images);
  const noise = (seed: number) =>
    sharp({ create: { width: 64, height: 48, channels: 3, background: { r: 20 * seed, g: 90, b: 200 - 20 * seed } } }).jpeg();
  for (const name of ['2.jpg', '10.jpg', '1.jpg']) await noise(Number.parseInt(name)).toFile(join(images, name));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image = (name = '1.jpg'): string => join(images, name);
const create = (...args: string[]) => runCli(['create', ...args, '--models', models, '--no-cache', '--device', 'cpu', '--json']);

/** A run that several tests look at. */
function once(...args: string[]): () => Promise<{ readonly file: string; readonly run: CliRun }> {
  const file = output();
  let started: Promise<CliRun> | undefined;
  return async () => ({ file, run: await (started ??= create(...args, '-o', file)) });
}
const plain = once(image());
const two = once(image(), image('2.jpg'), '--dtype', 'f32');
const folderOfImages = once(images);

/** The same images' embeddings, once. */
let encoding: Promise<CliRun> | undefined;
async function decode(...args: string[]): Promise<CliRun> {
  const embeddings = join(folder, 'embeddings.safetensors');
  encoding ??= runCli(['encode', image(), image('2.jpg'), '--models', models, '-o', embeddings, '--device', 'cpu', '--json']);
  doneOf(await encoding);
  return runCli([
    'decode',
    embeddings,
    '--expert',
    modelFile(models, 'qwen-image-i2l-style'),
    ...args,
    '--device',
    'cpu',
    '--json',
  ]);
}

describe('create', () => {
  test('makes a LoRA: same inputs, same bytes, whatever the threads; and it is encode and decode', async () => {
    const [{ file: first, run }, second, halves] = [await two(), output(), output()];
    expect(doneOf(run)).toMatchObject({ images: 2, rank: 8, modules: TINY_MODULES, output: first });
    doneOf(await create(image(), image('2.jpg'), '--dtype', 'f32', '-o', second, '--threads', '1'));
    expect(readFileSync(second).equals(readFileSync(first))).toBe(true);
    doneOf(await decode('-o', halves, '--dtype', 'f32'));
    expect(readFileSync(halves).equals(readFileSync(first))).toBe(true);
  });

  test('two images: the ranks of each, A divided by two', async () => {
    const one = output();
    doneOf(await create(image(), '-o', one, '--dtype', 'f32'));
    const key = 'diffusion_model.transformer_blocks.1.attn.to_k.lora_A.weight';
    const [a, both] = [
      readValues(Checkpoint.open(one).tensor(key, [4, 24])),
      readValues(Checkpoint.open((await two()).file).tensor(key, [8, 24])),
    ];
    a.forEach((value, i) => expect(both[i]! * 2).toBeCloseTo(value, 5));
  });

  test('a folder gives its images in the order of their numbers', async () => {
    const named = output();
    doneOf(await create(image('1.jpg'), image('2.jpg'), image('10.jpg'), '-o', named));
    const { file: whole, run } = await folderOfImages();
    doneOf(run);
    expect(readFileSync(whole).equals(readFileSync(named))).toBe(true);
  });

  test('metadata: what readers look for, and the hash of the tensors', async () => {
    const { file, run } = await plain();
    const { tensorHash } = doneOf(run);
    const { metadata, dataOffset } = readSafetensors(file);
    const hash = createHash('sha256').update(readFileSync(file).subarray(dataOffset)).digest('hex');
    expect(tensorHash).toBe(hash);
    expect(metadata).toMatchObject({
      'modelspec.sai_model_spec': '1.0.1',
      'modelspec.architecture': 'Qwen-Image/lora',
      'modelspec.hash_sha256': `0x${hash}`,
      sshs_model_hash: hash,
      ss_base_model_version: 'Qwen',
      ss_network_dim: '4',
      'i2l.synthetic': 'true',
      'i2l.warning': expect.stringContaining('random weights') as string,
    });
    const sha256 = createHash('sha256').update(readFileSync(image())).digest('hex');
    expect(JSON.parse(metadata['i2l.images'] ?? '')).toEqual([{ sha256, weight: 1 }]);
    // Its model is of other sizes than the published one; what it was taken for is said all the same.
    expect(JSON.parse(metadata['i2l.experts'] ?? '')).toMatchObject([{ id: 'i2l', expert: 'style', strength: 1 }]);
    expect(dataOffset).toBeLessThan(1e6);
  });

  test.each([
    ['comfyui', 'diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight'],
    ['reference', 'transformer_blocks.0.attn.to_q.lora_A.default.weight'],
    ['diffusers', 'transformer.transformer_blocks.0.attn.to_q.lora_A.weight'],
    ['plain', 'transformer_blocks.0.attn.to_q.lora_A.weight'],
    ['kohya', 'lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight'],
  ])('--key-form %s', async (form, key) => {
    const file = output();
    doneOf(await decode('-o', file, '--key-form', form));
    expect([...readSafetensors(file).tensors.keys()]).toContain(key);
  });

  test('finds models under their published names', async () => {
    const published = makePublishedModels(join(folder, 'published'));
    const file = output();
    doneOf(await runCli(['create', image(), '--models', published, '-o', file, '--device', 'cpu', '--json']));
    expect(existsSync(file)).toBe(true);
  });

  test('progress: an object a line, stages counted to the end', async () => {
    const progress = linesOf((await plain()).run, 'progress');
    const last = progress.at(-1);
    expect(last?.stageIndex).toBe(last?.stageCount);
    expect(last?.bytesDone).toBe(last?.bytesTotal);
    expect(new Set(progress.map(({ step }) => step))).toEqual(new Set(['siglip2', 'dinov3', 'style']));
  });

  test('--quiet says nothing; without a terminal a step is a line', async () => {
    const args = ['create', image(), '--models', models, '--device', 'cpu', '--no-cache'];
    expect(await runCli([...args, '-o', output(), '--quiet'])).toMatchObject({ code: 0, stdout: '', stderr: '' });
    const file = output();
    const run = await runCli([...args, '-o', file]);
    expect(run.stdout).toContain(file);
    expect(
      run.stderr
        .trim()
        .split('\n')
        .map((line) => line.split(':')[0]),
    ).toEqual(['siglip2', 'dinov3', 'style']);
  });
});

test('--fast: plan names the copies that come first, create makes them once, models copies lists and deletes them', async () => {
  const planned = async () => linesOf(await runCli(['plan', images, '--models', models, '--fast', '--json']), 'plan')[0]?.copies;
  expect(await planned()).toMatchObject([{ of: 'siglip2' }, { of: 'dinov3' }]);
  for (const made of [2, 0]) {
    const run = await create(image(), '--fast', '-o', output());
    doneOf(run);
    expect(linesOf(run, 'note').filter(({ message }) => message.includes('8-bit copy'))).toHaveLength(made);
  }
  expect(await planned()).toEqual([]);
  expect((await runCli(['models', 'copies'])).stdout).toMatch(/^siglip2: .*\ndinov3: |^dinov3: .*\nsiglip2: /);
  expect((await runCli(['models', 'copies', '--remove'])).stdout).toMatch(/freed/);
  expect((await runCli(['models', 'copies'])).stdout).toContain('There are no 8-bit copies');
});

describe('what is refused', () => {
  test.each([
    ['a missing option', ['create', 'x.jpg', '--models', 'm']],
    ['an unknown command', ['paint']],
    ['a bad size', ['create', 'x.jpg', '--models', 'm', '-o', 'o.safetensors', '--memory', 'lots']],
    ['a bad choice', ['create', 'x.jpg', '--models', 'm', '-o', 'o.safetensors', '--dtype', 'int4']],
    ['bad threads', ['create', 'x.jpg', '--models', 'm', '-o', 'o.safetensors', '--threads', '-1']],
  ])('%s: 2', async (_what, args) => {
    const run = await runCli(args);
    expect(run.code).toBe(2);
    expect(run.stdout).toBe('');
    expect(run.stderr).not.toBe('');
  });

  test('an output without the ending: 2', async () => {
    failureOf(await create(image(), '-o', join(folder, 'x.bin')), 'BAD_ARGUMENT', 2);
  });

  test('an expert that this version does not know: 2', async () => {
    const { message } = failureOf(await create(image(), '-o', output(), '--experts', 'style,vivid'), 'BAD_ARGUMENT', 2);
    expect(message).toContain('--experts');
  });

  test('a weight of an image that is not there: 2', async () => {
    const { message } = failureOf(await create(image(), '-o', output(), '--weight', 'other.jpg=2'), 'BAD_ARGUMENT', 2);
    expect(message).toContain('--weight');
  });

  test('a missing model: its name, size and place', async () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const run = await runCli(['create', image(), '--models', empty, '-o', output(), '--json']);
    const { message } = failureOf(run, 'MODEL_MISSING');
    for (const part of ['SigLIP2-G384', '2.3 GB', 'DiffSynth-Studio/General-Image-Encoders']) expect(message).toContain(part);
  });

  test('a memory budget that is too small: the smallest is named, and works', async () => {
    const { fields } = failureOf(await create(image(), '-o', output(), '--memory', '10MiB'), 'MEMORY_BUDGET');
    doneOf(await create(image(), '-o', output(), '--memory', String(fields['smallest'])));
  });

  test('an output that is an input stays as it was', async () => {
    const expert = modelFile(models, 'qwen-image-i2l-style');
    const before = readFileSync(expert);
    failureOf(await create(image(), '-o', expert), 'OUTPUT_IS_INPUT');
    expect(readFileSync(expert).equals(before)).toBe(true);
  });

  test('a damaged expert: no file', async () => {
    const damaged = join(folder, 'damaged');
    makeTinyModels(damaged);
    const expert = modelFile(damaged, 'qwen-image-i2l-style');
    const bytes = readFileSync(expert);
    bytes.fill(0xff, bytes.length - 400);
    writeFileSync(expert, bytes);
    const file = output();
    failureOf(await runCli(['create', image(), '--models', damaged, '-o', file, '--device', 'cpu', '--json']), 'NOT_FINITE');
    expect(readdirSync(folder).filter((name) => name.startsWith(file.slice(folder.length + 1)))).toEqual([]);
  });

  test('a config.json that contradicts the tensors', async () => {
    const odd = join(folder, 'odd');
    makeTinyModels(odd);
    writeFileSync(join(odd, 'dinov3-7b', 'config.json'), JSON.stringify({ num_attention_heads: 2, num_hidden_layers: 7 }));
    failureOf(await runCli(['create', image(), '--models', odd, '-o', output(), '--json']), 'CONFIG_INVALID');
  });
});

describe('images', () => {
  test.each([
    ['text.jpg', Buffer.from('not an image'), 'IMAGE_INVALID'],
    ['empty.png', Buffer.alloc(0), 'IMAGE_INVALID'],
  ] as const)('%s is refused by name', async (name, bytes, code) => {
    const file = join(folder, name);
    writeFileSync(file, bytes);
    expect(failureOf(await create(file, '-o', output()), code).message).toContain(file);
  });

  test('of several, all refused ones are named; --skip-bad leaves them out', async () => {
    const bad = ['a.jpg', 'b.jpg'].map((name) => join(folder, name));
    writeFileSync(bad[0]!, readFileSync(image()).subarray(0, 200));
    await sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } })
      .jpeg()
      .toFile(bad[1]!);
    const { fields } = failureOf(await create(image(), ...bad, '-o', output()), 'IMAGES_REFUSED');
    expect(fields['refused']).toEqual([expect.stringContaining(bad[0]!), expect.stringContaining(bad[1]!)]);
    expect(doneOf(await create(image(), ...bad, '-o', output(), '--skip-bad'))).toMatchObject({ images: 1, rank: 4 });
    failureOf(await create(...bad, '-o', output(), '--skip-bad'), 'NO_IMAGES');
  });

  test('awkward but usable: a note that names the file', async () => {
    const wide = join(folder, 'wide.png');
    await sharp({ create: { width: 20_000, height: 20, channels: 4, background: { r: 9, g: 9, b: 9, alpha: 0.5 } } })
      .png()
      .toFile(wide);
    const run = await create(wide, '-o', output());
    const notes = linesOf(run, 'note').map(({ message }) => message);
    doneOf(run);
    expect(notes).toHaveLength(2);
    for (const note of notes) expect(note).toContain(wide);
    expect(notes.join(' ')).toMatch(/transparency.*middle square/s);
  });

  test('an empty folder', async () => {
    const empty = join(folder, 'no-images');
    mkdirSync(empty);
    expect(failureOf(await create(empty, '-o', output()), 'NO_IMAGES').message).toContain(empty);
  });
});

describe('other commands', () => {
  test('plan tells what create then reads, and writes nothing', async () => {
    await folderOfImages();
    const before = readdirSync(folder);
    const run = await runCli(['plan', images, '--models', models, '--json']);
    expect(readdirSync(folder)).toEqual(before);
    const [plan] = linesOf(run, 'plan');
    const result = doneOf((await folderOfImages()).run);
    expect(plan).toMatchObject({ images: 3, rank: 12, modules: TINY_MODULES, weightBytes: result.weightBytes });
    expect(result.bytes).toBeGreaterThan(plan!.outputBytes);
  });

  test('identify tells architecture, LoRA and junk apart', async () => {
    const { file: lora, run: made } = await plain();
    doneOf(made);
    const junk = join(folder, 'junk.safetensors');
    copyFileSync(image(), junk);
    const run = await runCli([
      'identify',
      modelFile(models, 'dinov3-7b'),
      modelFile(models, 'qwen-image-i2l-style'),
      lora,
      junk,
      '--json',
    ]);
    expect(run.code).toBe(1);
    expect(linesOf(run, 'identity').map(({ network, synthetic }) => [network, synthetic])).toEqual([
      ['dinov3', true],
      ['i2l', true],
      ['lora', false],
    ]);
    expect(linesOf(run, 'failed')).toHaveLength(1);
  });

  test('demo makes a LoRA of full target size, the same bytes each time, and leaves no models', async () => {
    const files = [output(), output()];
    const demo = async (file: string): Promise<string> => {
      const home = `${file}-home`;
      doneOf(await runCli(['demo', '-o', file, '--device', 'cpu', '--json'], { env: { I2L_HOME: home } }));
      return home;
    };
    const homes = await Promise.all(files.map(demo));
    expect(readFileSync(files[1]!).equals(readFileSync(files[0]!))).toBe(true);
    expect(readSafetensors(files[0]!).tensors.get('diffusion_model.transformer_blocks.59.img_mod.1.lora_B.weight')?.shape).toEqual([
      18432, 12,
    ]);
    for (const home of homes) expect(existsSync(join(home, 'demo', 'models'))).toBe(false);
  });

  test('--version and --help: 0', async () => {
    expect(await runCli(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string });
    const help = await runCli(['--help']);
    expect(help.code).toBe(0);
    for (const name of ['create', 'encode', 'decode', 'identify', 'plan', 'demo', 'rank', 'merge', 'inspect', 'diff'])
      expect(help.stdout).toContain(name);
  });

  test('an interrupt: 130, and nothing is left', async () => {
    const file = output();
    const child = startCli(['create', images, '--models', models, '-o', file, '--device', 'cpu', '--json']);
    const end = endOf(child);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGINT');
    const run = await end;
    const won = linesOf(run, 'done').length > 0;
    expect(run.code).toBe(won ? 0 : 130);
    expect(readdirSync(folder).filter((name) => name.includes('i2l-part'))).toEqual([]);
    expect(existsSync(file)).toBe(won);
  });
});
