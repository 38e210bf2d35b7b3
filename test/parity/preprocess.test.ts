import { readdirSync } from 'node:fs';
import { join, parse } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { HostTensor } from '../../main/contract/tensor.ts';
import { CROP_SIDE, dinoPixels, LOW_CROP_SIDE, qwenPatches, qwenSide, siglipPixels } from '../../main/imaging/preprocess.ts';
import { readCrops } from '../../main/imaging/read-crops.ts';
import type { Pixels } from '../../main/imaging/resample.ts';
import { readSafetensors, readTensorBytes } from '../../main/weights/safetensors.ts';
import { cosine, goldenFolder, readAll, relativeError } from './goldens.ts';
import { encode, ENCODERS, openEncoder } from './run-encoder.ts';

const folder = goldenFolder('preprocess');
const expectedPath = join(folder, 'expected.safetensors');
const expected = readAll(expectedPath);
const { file, tensors } = readSafetensors(expectedPath);
const photographs = readdirSync(join(folder, 'inputs')).map((name) => [parse(name).name, join(folder, 'inputs', name)] as const);

/** Of an embedding; the promised 1e-4 would tell less between photographs, whose own distances are small. */
const BAR = 2e-5;

/**
 * What each encoder reads, with the largest difference of a value and of a mean over block x block pixels.
 * SigLIP's 8-bit values are exact; the rest is the rounding of f32 sums.
 */
const PROCESSORS = {
  siglip2: { pixelsOf: siglipPixels, side: 384, block: 8, value: 0, mean: 1e-6 },
  dinov3: { pixelsOf: dinoPixels, side: 224, block: 7, value: 1e-4, mean: 2e-5 },
} as const;

/** Of Qwen2.5-VL's two pictures; its 8-bit values are exact, too. */
const qwenExpected = readAll(join(folder, 'qwen.safetensors'));
const QWEN_CROPS = [['low', LOW_CROP_SIDE], ['high', CROP_SIDE]] as const; // prettier-ignore

/** Decoded in pieces, as within a small budget. */
const STRIP_BYTES = 1 << 18;

function golden(name: string): { shape: readonly number[]; values: Float32Array } {
  return expected.get(name) ?? expect.unreachable(`${name} is not in the goldens`);
}

/** The eight rows of a side that the goldens hold. */
const eightRows = (side: number): number[] => Array.from({ length: 8 }, (_, i) => Math.floor(((2 * i + 1) * side) / 16));

/** Those rows of each channel. */
function rowsOf(pixels: ArrayLike<number>, side: number): number[] {
  const row = (channel: number, y: number): number[] =>
    Array.from({ length: side }, (_, x) => pixels[(channel * side + y) * side + x] as number);
  return [0, 1, 2].flatMap((channel) => eightRows(side).flatMap((y) => row(channel, y)));
}

/** Means over block x block pixels of each channel. */
function pooled(pixels: ArrayLike<number>, side: number, block: number): Float64Array {
  const blocks = side / block;
  const means = new Float64Array(3 * blocks * blocks);
  for (let i = 0; i < 3 * side * side; i++) {
    const [channel, y, x] = [Math.floor(i / side / side), Math.floor(i / side) % side, i % side];
    const at = (channel * blocks + Math.floor(y / block)) * blocks + Math.floor(x / block);
    means[at] = (means[at] as number) + (pixels[i] as number) / block ** 2;
  }
  return means;
}

function largestDifference(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(got.length).toBe(wanted.length);
  let most = 0;
  for (let i = 0; i < wanted.length; i++) {
    const difference = Math.abs((got[i] as number) - (wanted[i] as number));
    if (!(difference <= most)) most = difference; // NaN counts
  }
  return most;
}

test('every photograph has its goldens', () => {
  const stems = new Set([...tensors.keys()].map((name) => name.split('.')[0]));
  expect(photographs.map(([name]) => name).sort()).toEqual([...stems].sort());
  expect(photographs).toHaveLength(9);
});

describe.each(photographs)('%s', (name, path) => {
  let crop: Pixels<Uint8Array>;
  let lowCrop: Pixels<Uint8Array>;
  const pixels = {} as Record<(typeof ENCODERS)[number], HostTensor>;
  beforeAll(async () => {
    const { crops } = await readCrops(path, [CROP_SIDE, LOW_CROP_SIDE], STRIP_BYTES);
    crop = crops.get(CROP_SIDE) ?? expect.unreachable();
    lowCrop = crops.get(LOW_CROP_SIDE) ?? expect.unreachable();
    for (const network of ENCODERS) pixels[network] = PROCESSORS[network].pixelsOf(crop, PROCESSORS[network].side);
  });

  test('the crop, byte by byte', () => {
    const entry = tensors.get(`${name}.crop.rows`) ?? expect.unreachable();
    const wanted = readTensorBytes({ file, offset: entry.offset, length: entry.length });
    expect(entry.shape).toEqual([8, crop.width, 3]);
    const got = Buffer.concat(eightRows(crop.height).map((y) => crop.data.subarray(y * crop.width * 3, (y + 1) * crop.width * 3)));
    expect(largestDifference(got, wanted)).toBe(0);
  });

  test.each(ENCODERS)('pixels of %s', (network) => {
    const { side, block, value, mean } = PROCESSORS[network];
    const { data, dims } = pixels[network];
    expect(dims).toEqual([1, 3, side, side]);
    const values = data as Float32Array;
    expect(largestDifference(rowsOf(values, side), golden(`${name}.${network}.rows`).values)).toBeLessThanOrEqual(value);
    expect(largestDifference(pooled(values, side, block), golden(`${name}.${network}.pooled`).values)).toBeLessThanOrEqual(mean);
  });

  test.each(QWEN_CROPS)('patches of qwen2.5-vl, %s', (resolution, cropSide) => {
    const { data, dims } = qwenPatches(cropSide === CROP_SIDE ? crop : lowCrop, qwenSide(cropSide, 14), 14);
    const [, count = 0, values = 0] = dims;
    const of = (at: number): Float32Array => (data as Float32Array).subarray(at * values, (at + 1) * values);
    const wanted = (what: string): Float32Array =>
      qwenExpected.get(`${name}.${resolution}.${what}`)?.values ?? expect.unreachable();
    const some = [0, Math.floor(count / 2) + 1, count - 1].flatMap((at) => [...of(at)]);
    expect(largestDifference(some, wanted('patches'))).toBeLessThanOrEqual(1e-6);
    const means = Array.from({ length: count / 4 }, (_, token) => {
      const all = (data as Float32Array).subarray(4 * token * values, 4 * (token + 1) * values);
      return all.reduce((sum, value) => sum + value, 0) / all.length;
    });
    expect(largestDifference(means, wanted('means'))).toBeLessThanOrEqual(1e-6);
  });

  test.each(ENCODERS)('embedding of %s', async (network) => {
    const embedding = await encode(openEncoder(network, join(folder, network)), pixels[network].data as Float32Array, 1 << 30);
    const { values } = golden(`${name}.${network}.embedding`);
    expect(cosine(embedding, values)).toBeGreaterThanOrEqual(0.9999);
    expect(relativeError(embedding, values)).toBeLessThanOrEqual(BAR);
  });
});

test('the goldens tell the photographs apart, far beyond the bar', () => {
  for (const network of ENCODERS) {
    const all = photographs.map(([name]) => golden(`${name}.${network}.embedding`).values);
    all.forEach((a, i) => all.slice(i + 1).forEach((b) => expect(relativeError(a, b)).toBeGreaterThan(100 * BAR)));
  }
});
