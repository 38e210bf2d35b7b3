import {
  cpSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { formatBytes } from '../../main/contract/format-bytes.ts';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { i2l } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import { catalogueEntry } from '../../main/weights/catalogue.ts';
import type { Layout } from '../../main/weights/fingerprint.ts';
import { planJob } from '../../main/pipelines/plan.ts';
import { thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { doneOf, failureOf, linesOf, runCli, type CliRun, type Plan } from './run-cli.ts';
import {
  dinov3Tiny,
  makePublishedModels,
  makeTinyModels,
  modelFile,
  siglip2Tiny,
  styleTiny,
  type TinyModel,
} from './tiny-models.ts';

/** Where models are looked for, what is said of one that is missing or wrong, and what the published ones need. */
const folder = tempFolder();
const models = join(folder, 'models');
const image = new URL('../../resources/examples/hills.jpg', import.meta.url).pathname;
const IDS = ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-style'] as const;

beforeAll(() => void makeTinyModels(models));

const plan = (from: string, ...args: string[]) => runCli(['plan', image, '--models', from, '--json', ...args]);
const create = (from: string, output: string, ...args: string[]) =>
  runCli(['create', image, '--models', from, '-o', output, '--device', 'cpu', '--json', ...args]);

function planOf(run: CliRun): Plan {
  expect(run.code, run.stdout + run.stderr).toBe(0);
  expect(run.stderr).toBe('');
  const plans = linesOf(run, 'plan');
  expect(plans).toHaveLength(1);
  return plans[0] as Plan;
}

/** A copy of the tiny models that a test may hurt. */
function copyOfModels(name: string): string {
  const copy = join(folder, name);
  cpSync(models, copy, { recursive: true });
  return copy;
}

describe('where models are found', () => {
  const published = join(folder, 'published');
  beforeAll(() => void makePublishedModels(published));
  const file = (path: string): string => join(published, path);
  const encoders = 'General-Image-Encoders';

  test.each<[string, Readonly<Record<string, string>>]>([
    [
      "downloads of the hub's repositories, by owner and name",
      { [`DiffSynth-Studio/${encoders}`]: encoders, 'DiffSynth-Studio/Qwen-Image-i2L': 'Qwen-Image-i2L' },
    ],
    ['by name alone', { [encoders]: encoders, 'Qwen-Image-i2L': 'Qwen-Image-i2L' }],
    [
      "the repositories' contents",
      {
        'SigLIP2-G384': `${encoders}/SigLIP2-G384`,
        'DINOv3-7B': `${encoders}/DINOv3-7B`,
        'Qwen-Image-i2L-Style.safetensors': 'Qwen-Image-i2L/Qwen-Image-i2L-Style.safetensors',
      },
    ],
    [
      'a folder of its own, and a file that keeps its name there',
      {
        'siglip2-g384': `${encoders}/SigLIP2-G384`,
        'dinov3-7b': `${encoders}/DINOv3-7B`,
        'qwen-image-i2l-style/Qwen-Image-i2L-Style.safetensors': 'Qwen-Image-i2L/Qwen-Image-i2L-Style.safetensors',
      },
    ],
  ])('%s', async (name, links) => {
    const own = join(folder, `layout ${name.slice(0, 12)}`);
    for (const [at, to] of Object.entries(links)) {
      mkdirSync(dirname(join(own, at)), { recursive: true });
      symlinkSync(file(to), join(own, at));
    }
    const { networks } = planOf(await plan(own));
    expect(networks.map(({ network }) => network)).toEqual(['siglip2', 'dinov3', 'style']);
  });

  test('under whichever names: the same LoRA', async () => {
    const outputs = [join(folder, 'own.safetensors'), join(folder, 'hub.safetensors')] as const;
    doneOf(await create(models, outputs[0]));
    doneOf(await create(published, outputs[1]));
    expect(readFileSync(outputs[1]).equals(readFileSync(outputs[0]))).toBe(true);
  });
});

describe('a model that is missing', () => {
  test.each(IDS)('%s: its size and where it is published', async (id) => {
    const incomplete = copyOfModels(`without ${id}`);
    rmSync(join(incomplete, id), { recursive: true });
    const { hubs, file, bytes } = catalogueEntry(id);
    const hub = hubs.huggingface;
    const { message, fields } = failureOf(await plan(incomplete), 'MODEL_MISSING');
    expect(fields).toMatchObject({ folder: incomplete, model: id, hub, path: file, bytes });
    for (const part of [formatBytes(bytes ?? 0), hub, file, join(incomplete, id)]) expect(message).toContain(part);
  });

  test('no such folder, a file in its place', async () => {
    const nowhere = join(folder, 'nowhere');
    expect(failureOf(await plan(nowhere), 'FILE_NOT_FOUND').message).toContain(nowhere);
    failureOf(await create(image, join(folder, 'x.safetensors')), 'BAD_ARGUMENT', 2);
    const blocked = copyOfModels('blocked');
    rmSync(join(blocked, 'dinov3-7b'), { recursive: true });
    writeFileSync(join(blocked, 'dinov3-7b'), 'a file');
    expect(failureOf(await plan(blocked), 'FILE_UNREADABLE').message).toContain(join(blocked, 'dinov3-7b'));
  });
});

describe('a model that is wrong', () => {
  /** Read in this process: it is the same planJob, and many cases. */
  function refusal(name: string, id: TinyModel['id'], config: string | undefined): string {
    const odd = copyOfModels(name);
    const path = join(odd, id, 'config.json');
    if (config === undefined) rmSync(path);
    else writeFileSync(path, config);
    const error = thrownBy(() =>
      planJob({
        models: odd,
        target: 'qwen-image',
        experts: [{ name: 'style', strength: 1 }],
        dtype: 'bf16',
        memory: 2 ** 30,
        images: 1,
      }),
    );
    expect(error.code, error.message).toBe('CONFIG_INVALID');
    expect(error.message.startsWith(config === undefined ? modelFile(odd, id) : path), error.message).toBe(true);
    return error.message;
  }

  test.each([
    ['no config.json where heads are told nowhere', undefined, /heads.* can't be told from the tensors; put a config\.json/],
    ['no JSON', '{', /not valid JSON/],
    ['no object', '[]', /expected object/],
    ['heads that are text', '{ "num_attention_heads": "two" }', /num_attention_heads: .*expected number/],
    ['no heads', '{ "num_attention_heads": 0 }', /heads: /],
    ['heads that do not divide the width', '{ "num_attention_heads": 5 }', /heads: expected a number that divides the width/],
    ['an image of broken patches', '{ "num_attention_heads": 2, "image_size": 40 }', /imageSize: expected a multiple of the patch/],
    [
      'another width than the tensors',
      '{ "num_attention_heads": 2, "hidden_size": 64 }',
      /width is 64, and the tensors of .* say 32/,
    ],
    ['an activation that we lack', '{ "num_attention_heads": 2, "hidden_act": "gelu" }', /only silu is known/],
  ])('%s', (name, config, says) => expect(refusal(`dino ${name}`, 'dinov3-7b', config)).toMatch(says));

  test('SigLIP2 with heads that do not divide the width', () => {
    expect(refusal('siglip', 'siglip2-g384', '{ "num_attention_heads": 5 }')).toMatch(/heads: expected a number that divides/);
  });

  test('an encoder in the place of the other', async () => {
    const swapped = copyOfModels('swapped');
    cpSync(join(models, 'siglip2-g384'), join(swapped, 'dinov3-7b'), { recursive: true });
    const { message } = failureOf(await plan(swapped), 'MODEL_UNRECOGNISED');
    expect(message).toContain(modelFile(swapped, 'dinov3-7b'));
  });

  test('an expert for embeddings of another width', async () => {
    const other = makeTinyModels(join(folder, 'narrow'), { ...styleTiny, width: 40 });
    const { message, fields } = failureOf(await plan(other), 'MODEL_MISMATCH');
    expect(fields).toMatchObject({ expected: 40, got: siglip2Tiny.width + dinov3Tiny.width });
    expect(message).toContain(modelFile(other, 'qwen-image-i2l-style'));
  });

  test('an encoder whose weights are no numbers: named, and no file', async () => {
    const damaged = copyOfModels('damaged');
    const path = modelFile(damaged, 'siglip2-g384');
    const bytes = readFileSync(path);
    bytes.fill(0xff, bytes.length - 400);
    writeFileSync(path, bytes);
    const outputs = join(folder, 'damaged outputs');
    const { message } = failureOf(await create(damaged, join(outputs, 'x.safetensors')), 'NOT_FINITE');
    expect(message).toContain(path);
    expect(readdirSync(outputs)).toEqual([]);
  });
});

describe('an output that is a model', () => {
  test.skipIf(process.platform === 'win32')('through a link to its folder', async () => {
    const linked = join(folder, 'linked');
    symlinkSync(models, linked);
    const path = modelFile(linked, 'dinov3-7b');
    const before = readFileSync(path);
    failureOf(await create(models, path), 'OUTPUT_IS_INPUT');
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

/** Headers of the published models over files without content: what is told of a model, its header tells. */
describe('the published models', () => {
  const real = join(folder, 'real');
  const NETWORKS = { siglip2, dinov3, i2l } as unknown as Readonly<Record<string, Network<object>>>;

  function writeHollow(path: string, layout: Layout): void {
    let end = 0;
    const entries = layout.map(({ name, shape }) => {
      const begin = end;
      end += 2 * shape.reduce((product, size) => product * size, 1);
      return [name, { dtype: 'BF16', shape, data_offsets: [begin, end] }];
    });
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    mkdirSync(dirname(path), { recursive: true });
    const fd = openSync(path, 'w');
    writeSync(fd, Buffer.concat([length, header]));
    ftruncateSync(fd, 8 + header.length + end); // No block of it is stored.
    closeSync(fd);
  }

  beforeAll(() => {
    for (const id of IDS) {
      const network = NETWORKS[catalogueEntry(id).network];
      const config = network?.published[id];
      if (network && config) writeHollow(modelFile(real, id), layoutOf(network, config));
    }
  });

  test('identify knows them by their fingerprints', async () => {
    const run = await runCli(['identify', ...IDS.map((id) => modelFile(real, id)), '--json']);
    expect(run.code).toBe(0);
    const told = linesOf(run, 'identity').map(({ id, fingerprint, tensors, parameters }) => ({
      id,
      fingerprint,
      tensors,
      parameters,
    }));
    const expected = IDS.map((id) => catalogueEntry(id));
    expect(told).toEqual(expected.map(({ id, fingerprint, tensors, parameters }) => ({ id, fingerprint, tensors, parameters })));
    const words = await runCli(['identify', modelFile(real, 'dinov3-7b')]);
    expect(words).toMatchObject({ code: 0, stderr: '' });
    expect(words.stdout).toContain(`${modelFile(real, 'dinov3-7b')}: dinov3-7b\n`);
  });

  test('plan needs no config.json, fits them into the default memory and reads each byte once', async () => {
    const told = planOf(await plan(real));
    expect(told.networks.map(({ id }) => id)).toEqual([...IDS]);
    expect(told).toMatchObject({ images: 1, rank: 4, modules: 720 });
    const bytes = IDS.reduce((sum, id) => sum + (catalogueEntry(id).bytes ?? 0), 0);
    expect(told.weightBytes).toBeLessThanOrEqual(bytes);
    expect(told.weightBytes).toBeGreaterThan(0.999 * bytes);
    expect(told.peakBytes).toBeLessThanOrEqual(1.5 * 2 ** 30);
    for (const { peakBytes } of told.networks) expect(peakBytes).toBeLessThanOrEqual(told.peakBytes);
  });

  test('plan refuses a budget that create would refuse, and takes the one that it names', async () => {
    const { message, fields } = failureOf(await plan(real, '--memory', '100MiB'), 'MEMORY_BUDGET');
    const [, named = ''] = /at least --memory (\w+)\./.exec(message) ?? [];
    planOf(await plan(real, '--memory', named));
    planOf(await plan(real, '--memory', String(fields['smallest'])));
    failureOf(await plan(real, '--memory', String(Number(fields['smallest']) - 1)), 'MEMORY_BUDGET');
  });
});
