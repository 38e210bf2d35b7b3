import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import type { EngineEvent, JobResult } from '../../main/contract/engine.ts';
import type { CreateJob, SetJob } from '../../main/contract/job.ts';
import { planJobOf } from '../../main/pipelines/plan.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { readValues } from '../../main/weights/values.ts';
import { makeTinyModels, styleTiny } from '../cli/tiny-models.ts';
import { rejectionOf, thrownBy } from '../unit/errors.ts';
import { claimingPng } from '../unit/png-chunks.ts';
import { tempFolder } from '../unit/temp.ts';

/** Many sets in one job: one pass over the weights, and each LoRA as if it had been made alone. */
const folder = tempFolder();
const models = join(folder, 'models');
let count = 0;
const output = (): string => join(folder, `out-${count++}.safetensors`);
const image = (n: number): string => join(folder, `${n}.png`);
const bad = join(folder, 'bad.png');

beforeAll(async () => {
  makeTinyModels(models);
  writeFileSync(bad, 'not an image');
  for (let n = 0; n < 6; n++) {
    const data = Uint8Array.from({ length: 48 * 40 * 3 }, (_, i) => (i * (7 + n) + (i >> 4) * (n + 3)) % 256);
    await sharp(data, { raw: { width: 48, height: 40, channels: 3 } })
      .png()
      .toFile(image(n));
  }
});

interface Outcome {
  readonly result: JobResult;
  readonly events: readonly EngineEvent[];
}

async function create(sets: readonly SetJob[], options: Partial<CreateJob> = {}): Promise<Outcome> {
  const events: EngineEvent[] = [];
  const context = { emit: (event: EngineEvent) => void events.push(event), signal: new AbortController().signal };
  const result = await runJob(context, {
    kind: 'create',
    sets: [...sets],
    models,
    target: 'qwen-image',
    experts: [{ name: 'style', strength: 1 }],
    skipBad: false,
    dtype: 'f32',
    keyForm: 'plain',
    memory: 2 ** 30,
    device: 'cpu',
    threads: 1,
    ...options,
  });
  return { result, events };
}

const setOf = (...images: (number | string)[]): SetJob => ({
  output: output(),
  images: images.map((which) => ({ file: typeof which === 'number' ? image(which) : which, weight: 1 })),
});
const bytesOf = ({ output: file }: SetJob): Buffer => readFileSync(file);
/** What a set gives alone, of embeddings that each image gave alone: encoding them again for every test would take most of its time. */
const alone = async ({ images }: SetJob): Promise<Buffer> => {
  const cache = { folder: join(folder, 'alone'), limit: 2 ** 30 };
  for (const only of images) await create([{ output: output(), images: [only] }], { cache });
  const set = { output: output(), images };
  const { result } = await create([set], { cache });
  expect(result.cached).toBe(2 * new Set(images.map(({ file }) => file)).size);
  return bytesOf(set);
};
const ofType = <Type extends EngineEvent['type']>({ events }: Outcome, type: Type): Extract<EngineEvent, { type: Type }>[] =>
  events.filter((event): event is Extract<EngineEvent, { type: Type }> => event.type === type);

describe('several sets', () => {
  const sets = [setOf(0, 1, 2), setOf(2), setOf(3, 0), setOf(4), setOf(5, 5), setOf(1, 3, 4)];

  test('give the bytes that each gives alone, for the weight bytes of one', async () => {
    const single = await create([setOf(0)]);
    const all = await create(sets);
    for (const set of sets) expect(bytesOf(set).equals(await alone(set)), set.output).toBe(true);
    expect(all.result.weightBytes).toBe(single.result.weightBytes);
    expect(all.result).toMatchObject({ loras: sets.length, failedSets: 0, images: 12 });
    expect(ofType(all, 'lora').map((lora) => [lora.output, lora.rank, lora.images])).toEqual(
      sets.map((set) => [set.output, 4 * set.images.length, set.images.length]),
    );
  });

  test('with little memory they go in several passes, and the bytes are the same', async () => {
    const choice = { models, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }], dtype: 'f32' } as const;
    const smallest = thrownBy(() => planJobOf([1, 2, 1, 2], { ...choice, experts: [...choice.experts], memory: 1 })).fields[
      'smallest'
    ];
    // A plan knows nothing of what decoding takes; another image in the pass would take more.
    const memory = Number(smallest) + 2 ** 21;
    const small = [setOf(0), setOf(1, 2), setOf(3), setOf(4, 5)];
    const { result } = await create(small, { memory });
    for (const set of small) expect(bytesOf(set).equals(await alone(set)), set.output).toBe(true);
    expect(result.weightBytes).toBeGreaterThan((await create([setOf(0)])).result.weightBytes);
    const planned = planJobOf([1, 2, 1, 2], { ...choice, experts: [...choice.experts], memory });
    expect(planned.weightBytes, 'as the plan says').toBe(result.weightBytes);
    expect(planned.networks.map(({ passes }) => passes > 1)).toContain(true);
  });

  test('one with a bad image fails by name, the others are made', async () => {
    const [good, broken, other] = [setOf(0), setOf(bad, 1), setOf(2)];
    const outcome = await create([good, broken, other]);
    expect(ofType(outcome, 'set-failed')).toMatchObject([{ output: broken.output, error: { code: 'IMAGES_REFUSED' } }]);
    expect(outcome.result).toMatchObject({ loras: 2, failedSets: 1 });
    expect(statSync(broken.output, { throwIfNoEntry: false })).toBeUndefined();
    expect(bytesOf(other).equals(await alone(other))).toBe(true);
  });

  test('skipBad leaves the image out, and a set without any fails', async () => {
    const [mixed, none] = [setOf(bad, 1), setOf(bad)];
    const outcome = await create([mixed, none], { skipBad: true });
    expect(bytesOf(mixed).equals(await alone(setOf(1)))).toBe(true);
    expect(ofType(outcome, 'set-failed')).toMatchObject([{ output: none.output, error: { code: 'NO_IMAGES' } }]);
    await expect(create([setOf(bad), setOf(bad)], { skipBad: true })).rejects.toMatchObject({ code: 'NO_IMAGES' });
  });

  test('may not be written to the same file', async () => {
    const [one, two] = [setOf(0), setOf(1)];
    await expect(create([one, { ...two, output: one.output }])).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('what images are like is known before any work', () => {
  test('one that takes more memory than the job may is refused by its header, with what would do', async () => {
    const file = join(folder, 'large.png');
    writeFileSync(file, claimingPng(12_000, 12_000));
    const memory = 256 * 2 ** 20;
    const refused = await rejectionOf(create([setOf(file, 0)], { memory }));
    expect(refused).toMatchObject({ code: 'MEMORY_BUDGET', fields: { file, width: 12_000, height: 12_000, budget: memory } });
    const smallest = Number(refused.fields['smallest']);
    // Enough to begin with, and then it shows that there is nothing behind the header.
    await expect(create([setOf(file, 0)], { memory: smallest - 1 })).rejects.toMatchObject({ code: 'MEMORY_BUDGET' });
    await expect(create([setOf(file, 0)], { memory: smallest })).rejects.toMatchObject({ code: 'IMAGES_REFUSED' });
  });

  test('copies in 8 bits are made when all images of the first pass are good', async () => {
    const cut = join(folder, 'cut.png');
    writeFileSync(cut, readFileSync(image(0)).subarray(0, -40));
    const eightBit = { folder: join(folder, '8-bit') };
    for (const wrong of [bad, cut])
      await expect(create([setOf(wrong, 1)], { eightBit })).rejects.toMatchObject({ code: 'IMAGES_REFUSED' });
    expect(existsSync(eightBit.folder)).toBe(false);
    await create([setOf(1)], { eightBit });
    expect(readdirSync(eightBit.folder)).toHaveLength(2);
  });
});

describe('weights', () => {
  const key = 'transformer_blocks.1.attn.to_k.lora_A.weight';
  const rowsOf = ({ output: file }: SetJob, rank: number): Float32Array =>
    readValues(Checkpoint.open(file).tensor(key, [rank, styleTiny.hidden]));

  test('each image counts by its share; one of zero leaves no rank', async () => {
    const weighted: SetJob = {
      output: output(),
      images: [{ file: image(0), weight: 3 }, { file: image(1), weight: 0 }, { file: image(2), weight: 1 }],
    }; // prettier-ignore
    const plain = [setOf(0), setOf(2)] as const;
    await create([weighted, ...plain], { experts: [{ name: 'style', strength: 0.5 }] });
    const both = rowsOf(weighted, 8);
    const [first, second] = [rowsOf(plain[0], 4), rowsOf(plain[1], 4)];
    first.forEach((value, i) => expect(both[i]).toBeCloseTo(0.75 * value, 6));
    second.forEach((value, i) => expect(both[first.length + i]).toBeCloseTo(0.25 * value, 6));
    const metadata = readSafetensors(weighted.output).metadata;
    expect((JSON.parse(metadata['i2l.images'] ?? '') as { weight: number }[]).map(({ weight }) => weight)).toEqual([0.75, 0.25]);
    expect(JSON.parse(metadata['i2l.experts'] ?? '')).toMatchObject([{ strength: 0.5 }]);
  });
});

describe('the cache of embeddings', () => {
  const cacheOf = (name: string, limit = 2 ** 30) => ({ folder: join(folder, name), limit });
  const filesIn = (path: string): string[] =>
    readdirSync(path, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.safetensors'))
      .map((name) => join(path, name));
  const encoded = ({ result }: Outcome): string[] =>
    result.networks.filter(({ network }) => network !== 'style').map(({ network }) => network);

  test('a rebuild decodes alone and gives the same bytes; one more image encodes that one', async () => {
    const cache = cacheOf('cache');
    const [fresh, again, more] = [setOf(0, 1, 2), setOf(0, 1, 2), setOf(0, 1, 2, 3)];
    expect((await create([fresh], { cache })).result.cached).toBe(0);
    const rebuilt = await create([again], { cache });
    expect(rebuilt.result.cached).toBe(6);
    expect(encoded(rebuilt)).toEqual([]);
    expect(bytesOf(again).equals(bytesOf(fresh))).toBe(true);
    const grown = await create([more], { cache });
    expect(grown.result.cached).toBe(6);
    expect(ofType(grown, 'progress').filter(({ step }) => step !== 'style').every(({ images }) => images === 1)).toBe(true); // prettier-ignore
    expect(bytesOf(more).equals(await alone(more))).toBe(true);
  });

  test('a damaged entry is found and made again', async () => {
    const cache = cacheOf('damaged');
    const set = setOf(0, 1);
    await create([set], { cache });
    const [flipped, cut, empty] = filesIn(cache.folder);
    const bytes = readFileSync(flipped ?? '');
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(flipped ?? '', bytes);
    writeFileSync(cut ?? '', readFileSync(cut ?? '').subarray(0, -4));
    writeFileSync(empty ?? '', '');
    const again = setOf(0, 1);
    expect((await create([again], { cache })).result.cached).toBeLessThanOrEqual(1);
    expect(bytesOf(again).equals(bytesOf(set))).toBe(true);
    expect((await create([setOf(0, 1)], { cache })).result.cached).toBe(4);
  });

  test('other weights of the same layout are not taken for these', async () => {
    const cache = cacheOf('other-weights');
    await create([setOf(0)], { cache });
    const others = join(folder, 'other-models');
    makeTinyModels(others);
    const encoder = filesIn(others).find((file) => file.includes('dinov3')) ?? '';
    const { dataOffset } = readSafetensors(encoder);
    const bytes = readFileSync(encoder);
    for (let i = dataOffset; i < bytes.length; i += 4) bytes[i] = (bytes[i] ?? 0) ^ 3;
    writeFileSync(encoder, bytes);
    const set = setOf(0);
    expect((await create([set], { cache, models: others })).result.cached).toBe(1);
  });

  test('keeps to its limit: what was used longest ago goes', async () => {
    const cache = cacheOf('limited');
    await create([setOf(0, 1, 2)], { cache });
    const sizes = filesIn(cache.folder).map((file) => statSync(file).size);
    filesIn(cache.folder).forEach((file) => utimesSync(file, 1e9, 1e9));
    expect((await create([setOf(0)], { cache })).result.cached).toBe(2);
    const limit = Math.max(...sizes) * 4;
    await create([setOf(3)], { cache: { ...cache, limit } });
    expect((await create([setOf(0, 3)], { cache: { ...cache, limit } })).result.cached).toBe(4);
    expect(filesIn(cache.folder)).toHaveLength(4);
  });

  test('one that cannot be used is told, and the job goes on without it', async () => {
    const blocked = join(folder, 'blocked');
    writeFileSync(blocked, 'a file');
    const set = setOf(0);
    const outcome = await create([set], { cache: { folder: join(blocked, 'cache'), limit: 1000 } });
    expect(ofType(outcome, 'note').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^Embeddings are not kept: .*blocked/),
    ]);
    expect(bytesOf(set).equals(await alone(set))).toBe(true);
  });

  test('what is not an embedding in its folder is left alone', async () => {
    const cache = cacheOf('strange', 1);
    mkdirSync(join(cache.folder, 'aa', 'folder'), { recursive: true });
    mkdirSync(join(cache.folder, 'texts'));
    const mine = ['note.txt', join('aa', 'note.txt'), join('aa', 'my.safetensors'), join('texts', `${'a'.repeat(64)}.safetensors`)];
    const dead = join(cache.folder, 'aa', `${'a'.repeat(64)}.safetensors.999999999-0.i2l-part`);
    for (const name of mine) writeFileSync(join(cache.folder, name), 'mine');
    writeFileSync(dead, 'half');
    await create([setOf(0)], { cache });
    expect(existsSync(dead)).toBe(false);
    for (const name of mine) expect(readFileSync(join(cache.folder, name), 'utf8')).toBe('mine');
    expect(filesIn(cache.folder)).toEqual(mine.slice(2).map((name) => join(cache.folder, name)));
  });
});
