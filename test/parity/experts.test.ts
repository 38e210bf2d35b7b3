import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DecodeJob } from '../../main/contract/job.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { readValues, float32Bytes } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { tempFolder } from '../unit/temp.ts';
import { goldenFolder, readAll, relativeError } from './goldens.ts';
import { silent } from './run-decoder.ts';

/** The promised bar is 1e-3; a few matrix products in f32 stay far below it. */
const BAR = 1e-5;
const IMAGES = [1, 2, 5] as const;
const folder = tempFolder();

/** The first images of a golden's inputs, as i2l encode would have written them. */
function embeddingsOf(golden: string, images: number): string {
  const path = join(folder, `${golden}-${images}.safetensors`);
  if (existsSync(path)) return path;
  const inputs = [...readAll(goldenFolder(golden, 'inputs.safetensors'))];
  const rows = inputs.flatMap(([name, { shape, values }]) => {
    const width = shape[1] ?? 0;
    return Array.from({ length: images }, (_, i) => ({
      name: `image.${i}.${name}`,
      dtype: 'F32' as const,
      shape: [width],
      bytes: float32Bytes(values.slice(i * width, (i + 1) * width)),
    }));
  });
  writeSafetensors(path, rows);
  return path;
}

let count = 0;

async function decode(golden: string, images: number, experts: DecodeJob['experts'], memory = 2 ** 30): Promise<Checkpoint> {
  const output = join(folder, `out-${count++}.safetensors`);
  await runJob(silent, {
    kind: 'decode',
    embeddings: embeddingsOf(golden, images),
    experts,
    output,
    dtype: 'f32',
    keyForm: 'reference',
    memory,
    device: 'cpu',
    threads: 1,
  });
  return Checkpoint.open(output);
}

function partsOf(golden: string, subset: string): DecodeJob['experts'] {
  return subset.split('+').map((name) => ({ file: goldenFolder(golden, name, 'model.safetensors'), strength: 1 }));
}

/** Tensors of one subset, by their keys. */
function wantedOf(golden: string, images: number, subset: string): Map<string, { shape: readonly number[]; values: Float32Array }> {
  const all = [...readAll(goldenFolder(golden, `expected-${images}.safetensors`))];
  return new Map(all.flatMap(([name, tensor]) => (name.startsWith(`${subset} `) ? [[name.slice(subset.length + 1), tensor]] : [])));
}

const SUBSETS = ['style', 'coarse', 'fine', 'style+coarse', 'style+fine', 'coarse+fine', 'style+coarse+fine'].flatMap((subset) => [
  subset,
  `${subset}+bias`,
]);

function compare(lora: Checkpoint, wanted: ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }>): void {
  expect([...lora.names].sort()).toEqual([...wanted.keys()].sort());
  for (const [key, { shape, values }] of wanted) {
    expect(lora.entry(key)?.shape, key).toEqual(shape);
    expect(relativeError(readValues(lora.tensor(key, shape)), values), key).toBeLessThan(BAR);
  }
}

describe.each(IMAGES)('experts of Qwen-Image against the reference, %i images', (images) => {
  test.each(SUBSETS)('%s', async (subset) => {
    const wanted = wantedOf('experts', images, subset);
    expect(wanted.size).toBe(24);
    compare(await decode('experts', images, partsOf('experts', subset)), wanted);
  });
});

test.each(IMAGES)('the expert of Z-Image against the reference, %i images', async (images) => {
  const wanted = wantedOf('z-image', images, 'style');
  expect(wanted.size).toBe(2 * (2 + 1 + 1) * 7);
  compare(await decode('z-image', images, partsOf('z-image', 'style')), wanted);
});

test('the residual counts: without it an expert would be far from its golden', () => {
  const tensors = wantedOf('experts', 2, 'fine+bias');
  const other = wantedOf('experts', 2, 'coarse+bias');
  for (const [key, { values }] of tensors) expect(relativeError(values, other.get(key)?.values ?? [])).toBeGreaterThan(0.5);
});

test('strengths are in A alone; the ranks of two experts stay where they are', async () => {
  const [style = expect.unreachable(), fine = expect.unreachable(), bias = expect.unreachable()] = partsOf(
    'experts',
    'style+fine+bias',
  );
  const plain = await decode('experts', 2, [style, fine, bias]);
  const scaled = await decode('experts', 2, [{ ...style, strength: 0.5 }, { ...fine, strength: -2 }, { ...bias, strength: 0.25 }]); // prettier-ignore
  for (const [key, { shape, values }] of wantedOf('experts', 2, 'style+fine+bias')) {
    const got = readValues(scaled.tensor(key, shape));
    const was = readValues(plain.tensor(key, shape));
    expect(was).toHaveLength(values.length);
    const rowOf = (i: number): number => (key.includes('lora_A') ? Math.floor(i / (shape[1] ?? 1)) : -1);
    const factor = (row: number): number => (row < 0 ? 1 : row < 8 ? 0.5 : row < 14 ? -2 : 0.25);
    got.forEach((value, i) => expect(value, key).toBeCloseTo((was[i] ?? 0) * factor(rowOf(i)), 5));
  }
});
