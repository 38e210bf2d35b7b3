import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { EngineEvent } from '../../main/contract/engine.ts';
import { EightBitCopy, type CopiedEncoder } from '../../main/pipelines/eight-bit-copy.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { float32Bytes, readValues } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import type { EightBitWeight } from '../../main/onnx/eight-bit.ts';
import type { ByteType } from '../../main/onnx/exact-bytes.ts';
import { IMAGES, type Graph } from '../../main/onnx/graph.ts';
import { tempFolder } from '../unit/temp.ts';
import { cosine, goldenCases, goldenFolder, readAll } from './goldens.ts';
import { makeCopy } from './make-copy.ts';
import { copyModels, photographsJob } from './photographs-job.ts';
import { silent } from './run-decoder.ts';
import { encodeQwen, openQwen } from './run-qwen.ts';

/** The promised bar for the worst module's dW, and for what experts are given. */
const BAR = 0.999;
const folder = tempFolder();
const PLACE = { path: '/models/an-encoder.safetensors', stamp: '1@2' };

describe('photographs to a LoRA with encoders in 8 bits', () => {
  const models = copyModels(join(folder, 'models'));
  const copies = join(folder, '8-bit');
  const exact = join(folder, 'exact.safetensors');
  const options = { memory: 2 ** 30, device: 'cpu', threads: 2 } as const;

  async function create(name: string): Promise<{ readonly output: string; readonly notes: readonly string[] }> {
    const output = join(folder, `${name}.safetensors`);
    const notes: string[] = [];
    const emit = (event: EngineEvent): void => {
      if (event.type === 'note' && event.message.includes('8-bit copy')) notes.push(event.message);
    };
    await runJob({ ...silent, emit }, { ...photographsJob(output, models), eightBit: { folder: copies } });
    return { output, notes };
  }

  test('dW of every module keeps its direction', async () => {
    await runJob(silent, photographsJob(exact, models));
    const { output, notes } = await create('fast');
    expect(notes).toHaveLength(2);
    const { comparison = [] } = await runJob(silent, { kind: 'diff', a: exact, b: output, ...options });
    const cosines = comparison.map((one) => one.cosine ?? Number.NaN).sort((a, b) => a - b);
    expect(cosines).toHaveLength(24);
    expect(cosines[0]).toBeGreaterThan(BAR);
    expect(cosines[12]).toBeGreaterThan(0.9999);
    // Exactly the same would mean that the copies were not used.
    expect(cosines[0]).toBeLessThan(0.999999);
    expect(JSON.parse(readSafetensors(output).metadata['i2l.encoders'] ?? '')).toMatchObject([{ bits: 8 }, { bits: 8 }]);
    expect(readSafetensors(output).metadata['i2l.recipe']).not.toBe(readSafetensors(exact).metadata['i2l.recipe']);
  });

  test('copies are made once, and again where they are damaged', async () => {
    const first = await create('first');
    const again = await create('again');
    expect(again.notes).toEqual([]);
    expect(readFileSync(again.output).equals(readFileSync(first.output))).toBe(true);
    const damaged = join(copies, readdirSync(copies)[0] ?? '');
    truncateSync(damaged, statSync(damaged).size - 1);
    const mended = await create('mended');
    expect(mended.notes).toHaveLength(1);
    expect(readFileSync(mended.output).equals(readFileSync(first.output))).toBe(true);
  });

  test('a damaged copy is named and removed, and the next job makes it anew', async () => {
    const whole = await create('whole');
    const file = join(copies, readdirSync(copies)[0] ?? '');
    const steps = [...readSafetensors(file).tensors.values()].find(({ name }) => name.endsWith('.steps'));
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.alloc(steps?.length ?? 0, 0xff), 0, steps?.length, steps?.offset);
    closeSync(fd);
    await expect(create('damaged')).rejects.toMatchObject({ code: 'NOT_FINITE', fields: { file } });
    expect(existsSync(file)).toBe(false);
    const again = await create('after damage');
    expect(again.notes).toHaveLength(1);
    expect(readFileSync(again.output).equals(readFileSync(whole.output))).toBe(true);
  });

  test('damage that no copy holds is told of the file itself', async () => {
    const broken = copyModels(join(folder, 'broken'));
    const file = join(broken, 'siglip2-g384', 'model.safetensors');
    const norm = [...readSafetensors(file).tensors.values()].find(({ name }) => name.endsWith('layer_norm1.weight'));
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.alloc(norm?.length ?? 0, 0xff), 0, norm?.length, norm?.offset);
    closeSync(fd);
    const job = { ...photographsJob(join(folder, 'never.safetensors'), broken), eightBit: { folder: join(folder, 'of broken') } };
    for (let i = 0; i < 2; i++) await expect(runJob(silent, job)).rejects.toMatchObject({ code: 'NOT_FINITE', fields: { file } });
  });

  test('embeddings of 8 bits and of full weights are not taken for one another', async () => {
    const cache = { folder: join(folder, 'cache'), limit: 2 ** 30 };
    const jobs = [{}, { eightBit: { folder: copies } }, {}, { eightBit: { folder: copies } }];
    const results = [];
    for (const extra of jobs) results.push(await runJob(silent, { ...photographsJob(join(folder, 'cached.safetensors'), models), cache, ...extra })); // prettier-ignore
    expect(results.map(({ cached }) => cached)).toEqual([0, 0, 6, 6]);
  });
});

describe('Qwen2.5-VL in 8 bits', () => {
  test.each(goldenCases('qwen25vl'))('%s', async (name) => {
    const golden = readAll(goldenFolder('qwen25vl', name, 'expected.safetensors'));
    const encoder = openQwen(goldenFolder('qwen25vl', name));
    const copy = new EightBitCopy(join(folder, 'qwen'), {
      id: 'qwen',
      name: 'qwen2.5-vl',
      contentId: name,
      stages: encoder.stages,
      ...PLACE,
    });
    await makeCopy(copy);
    const patches = Object.fromEntries(encoder.pictures.map((picture) => [picture.name, golden.get(`${picture.name}.patches`)?.values ?? new Float32Array()])); // prettier-ignore
    const { tokens } = await encodeQwen(encoder, patches, 1 << 30, { eightBit: copy.weights });
    for (const picture of encoder.pictures) {
      expect(cosine(tokens[picture.name] ?? [], golden.get(`${picture.name}.tokens`)?.values ?? [])).toBeGreaterThan(BAR);
    }
  });
});

describe('what a copy holds', () => {
  const [rows, inner] = [16, 256];
  const file = join(folder, 'weights.safetensors');
  const smooth = Float32Array.from({ length: rows * inner }, (_, i) => Math.sin(i * 1.7));
  const bytes = (values: Float32Array): Uint8Array => float32Bytes(values);
  writeSafetensors(file, [
    { name: 'smooth', dtype: 'F32', shape: [rows, inner], bytes: bytes(smooth) },
    { name: 'odd', dtype: 'F32', shape: [3, 65], bytes: bytes(smooth.slice(0, 195)) },
    { name: 'zeros', dtype: 'F32', shape: [rows, inner], bytes: bytes(new Float32Array(rows * inner)) },
    { name: 'broken', dtype: 'F32', shape: [rows, inner], bytes: bytes(smooth.map((value, i) => (i === 7 ? Number.NaN : value))) },
    { name: 'narrow', dtype: 'F32', shape: [rows, 8], bytes: bytes(smooth.slice(0, rows * 8)) },
  ]);
  const { tensors, file: path } = readSafetensors(file);
  const range = (name: string) => ({
    ...(tensors.get(name) as NonNullable<ReturnType<typeof tensors.get>>),
    dtype: 'F32' as const,
    file: path,
  });
  const stageOf = (name: string, isSensitive = false): CopiedEncoder['stages'][number] => ({
    id: name,
    isSensitive,
    takes: [{ name: 'x', value: (g: Graph) => g.input('x', [IMAGES, range(name).shape[1] ?? 0]) }],
    build: (g, take) => ({ emit: { [name]: g.linear(take('x'), range(name)) } }),
  });
  const copyOf = (id: string, stages: CopiedEncoder['stages'], stamp = PLACE.stamp, type?: ByteType): EightBitCopy =>
    new EightBitCopy(join(folder, 'copies'), { id, name: 'siglip2', contentId: id, stages, ...PLACE, stamp }, type);

  /** Runs of a row through a Walsh-Hadamard transform, by its sums and differences. */
  function turned(row: Float32Array, size: number): Float32Array {
    const result = row.slice();
    for (let half = 1; half < size; half *= 2) {
      for (let i = 0; i < row.length; i++) {
        if ((i & half) !== 0) continue;
        const [a, b] = [result[i] ?? 0, result[i + half] ?? 0];
        [result[i], result[i + half]] = [a + b, a - b];
      }
    }
    return result.map((value) => value / Math.sqrt(size));
  }

  test.each([
    { name: 'smooth', type: 'I8', tiles: 8, turn: 32 },
    { name: 'smooth', type: 'U8', tiles: 8, turn: 32 },
    { name: 'odd', type: 'I8', tiles: 1, turn: 1 },
  ] as const)(
    '$name as $type: the nearest steps of its turned rows, transposed tile by tile',
    async ({ name, type, tiles, turn }) => {
      const copy = copyOf(`${name} ${type}`, [stageOf(name)], PLACE.stamp, type);
      await makeCopy(copy);
      const { values, steps } = [...copy.weights.values()][0] as EightBitWeight;
      const [out = 0, width = 0] = range(name).shape;
      expect(values.shape).toEqual([tiles, width, out / tiles]);
      const stored = readFileSync(copy.path).subarray(values.offset, values.offset + values.length);
      const weight = readValues(range(name));
      for (const [row, step] of [...readValues(steps)].entries()) {
        const wanted = turned(weight.slice(row * width, (row + 1) * width), turn);
        const largest = Math.max(...wanted.map(Math.abs));
        expect(step).toBeCloseTo(largest / 127, 6);
        const [tile, place] = [Math.floor(row / (out / tiles)), row % (out / tiles)];
        for (let i = 0; i < width; i++) {
          const byte = stored[(tile * width + i) * (out / tiles) + place] ?? 0;
          const value = type === 'I8' ? (byte << 24) >> 24 : byte - 128;
          expect(Math.abs(value * step - (wanted[i] ?? 0))).toBeLessThanOrEqual(step / 2 + 1e-6);
        }
      }
    },
  );

  test('a copy for another kind of processor is made anew, and good enough for a plan', async () => {
    await makeCopy(copyOf('moved', [stageOf('smooth')], PLACE.stamp, 'U8'));
    expect(copyOf('moved', [stageOf('smooth')], PLACE.stamp, 'I8').isMade).toBe(false);
    expect(copyOf('moved', [stageOf('smooth')]).isMade).toBe(true);
  });

  test('sensitive stages and narrow weights stay as they are', () => {
    const copy = copyOf('mixed', [stageOf('smooth'), stageOf('narrow'), stageOf('zeros', true)]);
    expect([...copy.weights.values()].map(({ values }) => values.name)).toEqual(['smooth.values']);
  });

  test('a copy of other weights under the same name is made anew', async () => {
    const one = copyOf('one', [stageOf('smooth')]);
    await makeCopy(one);
    const other = copyOf('other', [stageOf('smooth')]);
    copyFileSync(one.path, other.path);
    expect(existsSync(other.path)).toBe(true);
    expect(copyOf('other', [stageOf('smooth')]).isMade).toBe(false);
    expect(copyOf('one', [stageOf('smooth'), stageOf('zeros')]).isMade).toBe(false);
    expect(copyOf('one', [stageOf('smooth')]).isMade).toBe(true);
  });

  test('weights that are not finite are no copy: the file that holds them is named, and nothing is left', async () => {
    const copy = copyOf('broken', [stageOf('smooth'), stageOf('broken')]);
    await expect(makeCopy(copy)).rejects.toMatchObject({ code: 'NOT_FINITE', fields: { file: PLACE.path, tensor: 'broken' } });
    expect(readdirSync(join(folder, 'copies')).filter((name) => name.startsWith('broken'))).toEqual([]);
  });

  test('a model that was mended since has its copy made anew', async () => {
    await makeCopy(copyOf('mended', [stageOf('smooth')], '10@1'));
    expect(copyOf('mended', [stageOf('smooth')], '10@1').isMade).toBe(true);
    expect(copyOf('mended', [stageOf('smooth')], '10@2').isMade).toBe(false);
  });
});
