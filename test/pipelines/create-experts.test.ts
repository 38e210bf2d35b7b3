import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ExpertName } from '../../main/contract/experts.ts';
import type { EngineEvent, JobResult } from '../../main/contract/engine.ts';
import { createJobSchema, type CreateJob } from '../../main/contract/job.ts';
import { openLora } from '../../main/lora/read-lora.ts';
import { planJob } from '../../main/pipelines/plan.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { readValues } from '../../main/weights/values.ts';
import { BIAS_RANK, makeTinyExperts } from '../cli/tiny-experts.ts';
import { thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

/** Every expert in one job: which models run, whose ranks lie where, what is kept. */
const folder = tempFolder();
const models = join(folder, 'models');
const image = (n: number): string => join(folder, `${n}.png`);
let count = 0;
const output = (): string => join(folder, `out-${count++}.safetensors`);

beforeAll(async () => {
  makeTinyExperts(models);
  for (let n = 0; n < 3; n++) {
    const data = Uint8Array.from({ length: 60 * 44 * 3 }, (_, i) => (i * (7 + n) + (i >> 4) * (n + 3)) % 256);
    await sharp(data, { raw: { width: 60, height: 44, channels: 3 } })
      .png()
      .toFile(image(n));
  }
});

/** 'style:0.5,bias' */
function expertsOf(text: string): CreateJob['experts'] {
  return text.split(',').map((item) => {
    const [name, strength = '1'] = item.split(':');
    return { name: name as ExpertName, strength: Number(strength) };
  });
}

/** Spares encoding the same images for every test; what the cache itself does is tested with one of its own. */
const shared = { folder: join(folder, 'shared-cache'), limit: 2 ** 30 };

type Options = Partial<CreateJob> & { readonly images?: readonly (readonly [number, number])[] };

async function create(
  experts: string,
  { images = [[0, 1]], ...options }: Options = {},
  emit: (event: EngineEvent) => void = () => undefined,
): Promise<{ file: string; result: JobResult }> {
  const file = output();
  const result = await runJob(
    { emit, signal: new AbortController().signal },
    {
      kind: 'create',
      sets: [{ output: file, images: images.map(([n, weight]) => ({ file: image(n), weight })) }],
      models,
      target: 'qwen-image',
      experts: expertsOf(experts),
      skipBad: false,
      dtype: 'f32',
      keyForm: 'plain',
      memory: 2 ** 30,
      device: 'cpu',
      threads: 1,
      ...options,
    },
  );
  return { file, result };
}

interface Factors {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly in: number;
}
const MODULE = 'transformer_blocks.1.img_mod.1';
function factorsOf(file: string, path = MODULE): Factors {
  const module = openLora(file).modules.find((candidate) => candidate.path === path) ?? expect.unreachable();
  return { a: readValues(module.a), b: readValues(module.b), rank: module.rank, in: module.in };
}
/** Rows first .. first + rank of A, and those columns of B. */
function cut({ a, b, rank, in: inner }: Factors, first: number, ranks: number): { a: number[]; b: number[] } {
  const columns = [...b].filter((_, i) => i % rank >= first && i % rank < first + ranks);
  return { a: [...a.slice(first * inner, (first + ranks) * inner)], b: columns };
}
const closeTo = (values: Iterable<number>, factor = 1): unknown[] => [...values].map((value) => expect.closeTo(value * factor, 5));
const networks = ({ networks: ran }: JobResult): string[] => ran.map(({ network }) => network);

test('progress tells of the one image that there is, also where graphs are run over two rows', async () => {
  const images: number[] = [];
  await create('style', { cache: shared }, (event) => void (event.type === 'progress' && images.push(event.images)));
  expect(new Set(images)).toEqual(new Set([1]));
});

describe('ranks', () => {
  test('lie in the order of the experts, image by image, Bias last; factors are in A', async () => {
    const images = [[0, 1], [1, 3]] as const; // prettier-ignore
    const all = factorsOf((await create('bias:0.5,fine:2,coarse,style:-1', { images, cache: shared })).file);
    expect(all.rank).toBe(3 * 2 * 4 + BIAS_RANK);
    let first = 0;
    for (const [expert, strength] of [
      ['style', -1],
      ['coarse', 1],
      ['fine', 2],
    ] as const) {
      // prettier-ignore
      for (const [n, share] of [[0, 0.25], [1, 0.75]] as const) { // prettier-ignore
        const alone = factorsOf((await create(expert, { images: [[n, 1]], cache: shared })).file);
        const part = cut(all, first, 4);
        expect(part.a, `${expert} ${n}`).toEqual(closeTo(alone.a, strength * share));
        expect(part.b, `${expert} ${n}`).toEqual(closeTo(alone.b));
        first += 4;
      }
    }
    const bias = factorsOf(join(models, 'qwen-image-i2l-bias/model.safetensors'));
    expect(cut(all, first, BIAS_RANK)).toEqual({ a: closeTo(bias.a, 0.5), b: closeTo(bias.b) });
  });

  test('of no strength and no weight are left out, and so are their models', async () => {
    const bare = join(folder, 'style-alone');
    makeTinyExperts(bare);
    for (const id of ['qwen2.5-vl-7b', 'qwen-image-i2l-fine', 'qwen-image-i2l-bias']) rmSync(join(bare, id), { recursive: true });
    const { file, result } = await create('fine:0,style,bias:0', { models: bare, images: [[0, 0], [1, 5]] }); // prettier-ignore
    expect(readFileSync(file).equals(readFileSync((await create('style', { images: [[1, 1]] })).file))).toBe(true);
    expect(networks(result)).toEqual(['siglip2', 'dinov3', 'style']);
  });

  test('metadata names every part', async () => {
    const { file } = await create('style,bias:0.5');
    const metadata = readSafetensors(file).metadata;
    expect(JSON.parse(metadata['i2l.experts'] ?? '')).toMatchObject([{ id: 'i2l', expert: 'style', strength: 1 }, { id: 'qwen-image-i2l-bias', expert: 'bias', strength: 0.5 }]); // prettier-ignore
    expect((JSON.parse(metadata['i2l.encoders'] ?? '') as { id: string }[]).map(({ id }) => id)).toEqual(['siglip2', 'dinov3']);
    expect(metadata['ss_network_dim']).toBe(String(4 + BIAS_RANK));
  });
});

describe('several sets', () => {
  test('with all experts are each as if made alone, for the weight bytes of one', async () => {
    const job = (images: readonly number[]) => ({ output: output(), images: images.map((n) => ({ file: image(n), weight: 1 })) });
    const sets = [job([0, 1]), job([2]), job([1, 2, 0])];
    const { result } = await create('style,coarse,fine,bias', { sets });
    const one = await create('style,coarse,fine,bias');
    expect(result.weightBytes).toBe(one.result.weightBytes);
    const alone: string[] = [];
    for (const { images } of sets) {
      const own = { output: output(), images };
      await create('style,coarse,fine,bias', { sets: [own], cache: shared });
      alone.push(own.output);
    }
    for (const [i, { images }] of sets.entries()) {
      expect(readFileSync(sets[i]?.output ?? '').equals(readFileSync(alone[i] ?? '')), `${images.length} images`).toBe(true);
    }
  });
});

describe('kept embeddings', () => {
  test('another expert encodes what it needs alone; with all kept, nothing is encoded', async () => {
    const cache = { folder: join(folder, 'cache'), limit: 2 ** 30 };
    expect(networks((await create('style', { cache })).result)).toEqual(['siglip2', 'dinov3', 'style']);
    const coarse = await create('coarse', { cache });
    expect(networks(coarse.result)).toEqual(['qwen2.5-vl', 'coarse']);
    expect(networks((await create('fine,bias', { cache })).result)).toEqual(['qwen2.5-vl', 'fine + bias']);
    const all = await create('style,coarse,fine', { cache });
    expect(networks(all.result)).toEqual(['style + coarse + fine']);
    expect(all.result.cached).toBe(4);
    expect(readFileSync((await create('coarse')).file).equals(readFileSync(coarse.file))).toBe(true);
  });
});

test('encode and decode are create in two halves, for every expert', async () => {
  const [whole, embeddings, file] = [await create('coarse,fine,bias', { images: [[0, 1], [1, 1]] }), output(), output()]; // prettier-ignore
  const context = { emit: () => undefined, signal: new AbortController().signal };
  const engine = { memory: 2 ** 30, device: 'cpu', threads: 1 } as const;
  const images = [image(0), image(1)];
  await runJob(context, {
    kind: 'encode',
    images,
    models,
    experts: ['coarse', 'fine'],
    output: embeddings,
    skipBad: false,
    ...engine,
  });
  const experts = ['coarse', 'fine', 'bias'].map((name) => ({ file: join(models, `qwen-image-i2l-${name}/model.safetensors`), strength: 1 })); // prettier-ignore
  await runJob(context, { kind: 'decode', embeddings, experts, output: file, dtype: 'f32', keyForm: 'plain', ...engine });
  expect(factorsOf(file)).toEqual(factorsOf(whole.file));
  const style = output();
  await runJob(context, { kind: 'encode', images, models, experts: ['style'], output: style, skipBad: false, ...engine });
  const refused = runJob(context, {
    kind: 'decode',
    embeddings: style,
    experts,
    output: file,
    dtype: 'f32',
    keyForm: 'plain',
    ...engine,
  });
  await expect(refused).rejects.toMatchObject({ code: 'MODEL_MISMATCH', message: expect.stringContaining('71 tokens') as string });
});

describe('Z-Image', () => {
  test('its own expert and modules', async () => {
    const { file, result } = await create('style', { target: 'z-image', images: [[0, 1], [2, 1]] }); // prettier-ignore
    expect(result).toMatchObject({ rank: 8, modules: (2 + 1 + 1) * 7 });
    const paths = openLora(file).modules.map(({ path }) => path);
    expect(paths).toContain('layers.1.attention.to_out.0');
    expect(paths).toContain('noise_refiner.0.feed_forward.w2');
    expect(readSafetensors(file).metadata['modelspec.architecture']).toBe('Z-Image/lora');
  });

  test.each(['coarse', 'style,bias'])('%s: there is none', (experts) => {
    const fault = createJobSchema.shape.experts.safeParse(expertsOf(experts));
    expect(fault.success).toBe(true);
    expect(faultOf({ target: 'z-image', experts: expertsOf(experts) })).toMatch(/there is no (coarse|bias) expert for z-image/);
  });
});

function faultOf(change: Partial<CreateJob>): string | undefined {
  const job = {
    kind: 'create',
    sets: [{ output: 'o', images: [{ file: 'i', weight: 1 }] }],
    models: 'm',
    target: 'qwen-image',
    experts: [{ name: 'style', strength: 1 }],
    skipBad: false,
    dtype: 'f32',
    keyForm: 'plain',
    memory: 1,
    device: 'cpu',
    threads: 0,
    ...change,
  };
  return createJobSchema.safeParse(job).error?.issues[0]?.message;
}

test('a job says what is wrong with its experts', () => {
  expect(faultOf({})).toBeUndefined();
  expect(faultOf({ experts: expertsOf('style,bias,style:0.5') })).toContain('style is named twice');
  expect(faultOf({ experts: expertsOf('style:0,bias') })).toContain('strength other than 0');
  expect(faultOf({ experts: [] })).toBeDefined();
});

describe('memory', () => {
  test('the plan refuses a budget that cannot work and names the smallest, and that works', async () => {
    const choice = { models, target: 'qwen-image', experts: expertsOf('coarse,fine,bias'), dtype: 'f32', images: 2 } as const;
    const { code, fields } = thrownBy(() => planJob({ ...choice, experts: [...choice.experts], memory: 1 }));
    expect(code).toBe('MEMORY_BUDGET');
    const memory = Number(fields['smallest']);
    const plan = planJob({ ...choice, experts: [...choice.experts], memory });
    expect(plan.peakBytes).toBeLessThanOrEqual(memory);
    expect(plan.rank).toBe(2 * 8 + BIAS_RANK);
    expect(plan.networks.map(({ network }) => network)).toEqual(['siglip2', 'dinov3', 'qwen2.5-vl', 'coarse + fine + bias']);
    const images = [[0, 1], [1, 1]] as const; // prettier-ignore
    const tight = await create('coarse,fine,bias', { images, memory });
    expect(tight.result.weightBytes).toBe(plan.weightBytes);
  });
});

describe('files that do not fit together', () => {
  const biasFile = join(models, 'qwen-image-i2l-bias/model.safetensors');
  test('a static LoRA with modules that no expert makes', async () => {
    const other = join(folder, 'other-bias');
    makeTinyExperts(other);
    const file = join(other, 'qwen-image-i2l-bias/model.safetensors');
    const bytes = readFileSync(biasFile);
    const text = Buffer.from(bytes);
    const at = text.indexOf('transformer_blocks.0.attn.to_q.lora_A');
    text.write('transformer_blocks.9', at);
    text.write('transformer_blocks.9', text.indexOf('transformer_blocks.0.attn.to_q.lora_B'));
    writeFileSync(file, text);
    await expect(create('style,bias', { models: other })).rejects.toMatchObject({
      code: 'MODEL_MISMATCH',
      fields: { module: 'transformer_blocks.9.attn.to_q' },
    });
  });

  test('an expert of other tokens than the encoder gives', async () => {
    const other = join(folder, 'other-tokens');
    makeTinyExperts(other);
    const swapped = join(other, 'qwen-image-i2l-coarse/model.safetensors');
    writeFileSync(swapped, readFileSync(join(models, 'qwen-image-i2l-fine/model.safetensors')));
    await expect(create('coarse', { models: other })).rejects.toMatchObject({
      code: 'MODEL_MISMATCH',
      message: expect.stringContaining('1376 tokens') as string,
    });
  });
});
