import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { lookAtImage, THUMBNAIL_SIDE } from '../../main/imaging/look.ts';
import { hammingDistance, PERCEPTUAL_SIDE, perceptualHash } from '../../main/imaging/perceptual-hash.ts';
import { expectRefusal, rejectionOf } from './errors.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const example = (name: string): string => new URL(`../../resources/examples/${name}`, import.meta.url).pathname;
const NAMES = ['hills.jpg', 'sea.jpg', 'town.jpg'];
const goldens = new URL('../parity/goldens/preprocess/inputs/', import.meta.url).pathname;

test('an image is measured upright, hashed and shrunk', async () => {
  const file = join(goldens, 'rotated.jpg');
  const look = await lookAtImage(file);
  const bytes = readFileSync(file);
  const { autoOrient } = await sharp(file).metadata();
  expect(look).toMatchObject({ bytes: bytes.length, format: 'jpg', width: autoOrient.width, height: autoOrient.height });
  expect(look.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  const thumbnail = await sharp(look.thumbnail).metadata();
  expect(thumbnail.format).toBe('webp');
  expect(Math.max(thumbnail.width, thumbnail.height)).toBeLessThanOrEqual(THUMBNAIL_SIDE);
  expect(thumbnail.width / thumbnail.height).toBeCloseTo(look.width / look.height, 1);
});

test('transparency is laid on white, and a small image stays as it is', async () => {
  const file = join(folder, 'clear.png');
  await sharp({ create: { width: 40, height: 20, channels: 4, background: '#00000000' } })
    .png()
    .toFile(file);
  const { data, info } = await sharp((await lookAtImage(file)).thumbnail)
    .raw()
    .toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject({ width: 40, height: 20, channels: 3 });
  expect(Math.min(...data)).toBeGreaterThan(250);
});

test.each([
  ['webp', 'webp', 'webp'],
  ['png', 'png', 'png'],
  ['tif', 'tiff', 'tif'],
  ['gif', 'gif', 'gif'],
  ['avif', 'avif', 'avif'],
] as const)('%s is known by its content, whatever its name', async (name, format, ending) => {
  const file = join(folder, `${name}.jpg`);
  await sharp(example('sea.jpg')).resize(64).toFormat(format).toFile(file);
  expect((await lookAtImage(file)).format).toBe(ending);
});

test('near-duplicates are close, and different images far apart', async () => {
  const looks = await Promise.all(NAMES.map((name) => lookAtImage(example(name))));
  for (const [i, name] of NAMES.entries()) {
    const image = (): Sharp => sharp(example(name));
    const changed = [
      image().resize(200).jpeg({ quality: 50 }),
      image().modulate({ brightness: 1.1 }).png(),
      image().greyscale().webp(),
    ];
    for (const [k, variant] of changed.entries()) {
      const file = join(folder, `variant-${k}-${name}`);
      await variant.toFile(file);
      expect(hammingDistance((await lookAtImage(file)).perceptual, looks[i]!.perceptual)).toBeLessThanOrEqual(6);
    }
    for (const other of looks.slice(0, i)) expect(hammingDistance(other.perceptual, looks[i]!.perceptual)).toBeGreaterThan(20);
  }
});

test('a perceptual hash is a number of 64 bits, and the distance counts them', () => {
  const noise = (seed: number): Uint8Array => Uint8Array.from({ length: PERCEPTUAL_SIDE ** 2 }, (_, i) => (i * i * seed) % 251);
  for (const grey of [noise(3), noise(7), new Uint8Array(PERCEPTUAL_SIDE ** 2)]) {
    expect(perceptualHash(grey)).toMatch(/^[0-9a-f]{16}$/);
    expect(hammingDistance(perceptualHash(grey), perceptualHash(grey))).toBe(0);
  }
  expect(hammingDistance('0000000000000000', 'ffffffffffffffff')).toBe(64);
  expect(hammingDistance('8000000100000000', '0000000000000003')).toBe(4);
});

test('what is no image is refused by name', async () => {
  const broken = join(folder, 'broken.jpg');
  const whole = readFileSync(example('town.jpg'));
  writeFileSync(broken, whole.subarray(0, whole.length / 2));
  expectRefusal(await rejectionOf(lookAtImage(broken)), 'IMAGE_INVALID', broken, /damaged or cut off/);
  const text = join(folder, 'text.png');
  writeFileSync(text, 'no image');
  expectRefusal(await rejectionOf(lookAtImage(text)), 'IMAGE_INVALID', text, /not an image/);
  const empty = join(folder, 'empty.png');
  writeFileSync(empty, '');
  expectRefusal(await rejectionOf(lookAtImage(empty)), 'IMAGE_INVALID', empty, /empty/);
  const none = join(folder, 'none.png');
  expectRefusal(await rejectionOf(lookAtImage(none)), 'FILE_NOT_FOUND', none, /no such file/);
  mkdirSync(join(folder, 'folder.png'));
  expectRefusal(await rejectionOf(lookAtImage(join(folder, 'folder.png'))), 'FILE_UNREADABLE', join(folder, 'folder.png'), /folder/); // prettier-ignore
});
