import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { leastDecodeBytes, stripBytesWithin } from '../../main/imaging/decode-memory.ts';
import { readHeader, type ImageHeader } from '../../main/imaging/decode.ts';
import { claimingPng } from './png-chunks.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const MIB = 2 ** 20;
const [WIDTH, HEIGHT] = [3000, 2000];

async function headerOf(encode: (image: Sharp) => Sharp): Promise<ImageHeader> {
  const file = join(folder, 'image');
  await encode(sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#7a5' } })).toFile(file);
  return readHeader(file);
}

/** Bytes a pixel beside the file and its strip. */
async function heldOf(encode: (image: Sharp) => Sharp): Promise<number> {
  const header = await headerOf(encode);
  const strip = Math.min(33 * MIB, 3 * WIDTH * HEIGHT);
  const file = (header.metadata.format === 'heif' ? 3 : 1) * header.fileBytes;
  return (leastDecodeBytes(header) - file - strip) / (WIDTH * HEIGHT);
}

test('formats that come row by row take a few rows; others hold the whole image', async () => {
  const few = await heldOf((image) => image.png());
  expect(few).toBeLessThan(1);
  expect(await heldOf((image) => image.jpeg())).toBe(few);
  expect(await heldOf((image) => image.tiff({ compression: 'none' }))).toBe(few);
  expect(await heldOf((image) => image.png({ progressive: true }))).toBe(few + 3);
  expect(await heldOf((image) => image.jpeg({ progressive: true }))).toBe(few + 3);
  expect(await heldOf((image) => image.jpeg({ progressive: true, chromaSubsampling: '4:4:4' }))).toBe(few + 6);
  expect(await heldOf((image) => image.tiff({ compression: 'lzw' }))).toBe(few + 3);
  expect(await heldOf((image) => image.webp())).toBe(few + 7);
  expect(await heldOf((image) => image.avif({ effort: 0 }))).toBe(few + 16);
});

test('an AVIF is held three times, beside its pixels: dense ones are large', async () => {
  const file = join(folder, 'dense');
  const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
  const dense = sharp({ create: { width: 500, height: 500, channels: 3, background: '#888', noise } });
  await dense.avif({ effort: 0, quality: 95 }).toFile(file);
  const header = await readHeader(file);
  const withoutFile = leastDecodeBytes({ ...header, fileBytes: 0 });
  expect(header.fileBytes).toBeGreaterThan(500 * 500);
  expect(leastDecodeBytes(header) - withoutFile).toBe(3 * header.fileBytes);
});

test('strips are as large as the memory lets them be', async () => {
  const file = join(folder, 'large.png');
  writeFileSync(file, claimingPng(12_000, 12_000));
  const header = await readHeader(file);
  const least = leastDecodeBytes(header);
  const smallest = stripBytesWithin(header, least);
  expect(stripBytesWithin(header, 0)).toBe(smallest);
  expect(stripBytesWithin(header, least + 100 * MIB)).toBe(smallest + 100 * MIB);
});

test('what is decoded as a whole is decoded once', async () => {
  const header = await headerOf((image) => image.webp().resize(6000, 4000));
  expect(stripBytesWithin(header, 0)).toBe(3 * 6000 * 4000);
  expect(leastDecodeBytes(header)).toBeGreaterThan(stripBytesWithin(header, 0) + 7 * 6000 * 4000);
});

test('a name that ends in brackets is a name', async () => {
  const file = join(folder, 'image [2]');
  writeFileSync(file, claimingPng(64, 32));
  expect((await readHeader(file)).metadata).toMatchObject({ width: 64, height: 32 });
});
