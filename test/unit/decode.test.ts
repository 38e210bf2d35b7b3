import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { MAX_PIXELS } from '../../main/imaging/decode.ts';
import type { Pixels } from '../../main/imaging/resample.ts';
import { decodeImage } from './decode-image.ts';
import { expectRefusal, rejectionOf } from './errors.ts';
import { chunk, claimingPng } from './png-chunks.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
let made = 0;

function save(bytes: Uint8Array | string, ending = 'img'): string {
  const path = join(folder, `${made++}.${ending}`);
  writeFileSync(path, bytes);
  return path;
}

/** Pixels from a function of the place, as `channels` values of 0 to 255. */
function paint(width: number, height: number, colour: (x: number, y: number) => readonly number[]): Pixels<Uint8Array> {
  const values = Array.from({ length: width * height }, (_, i) => colour(i % width, Math.floor(i / width)));
  return { data: Uint8Array.from(values.flat()), width, height, channels: values[0]?.length ?? 0 };
}

/** Four blocks of different colours: which way is up shows at once. JPEG keeps them, in multiples of 16. */
const BLOCKS = [[[230, 60, 50], [40, 190, 80]], [[50, 70, 220], [240, 220, 60]]] as const; // prettier-ignore
const blocks = (width: number, height: number): Pixels<Uint8Array> =>
  paint(width, height, (x, y) => BLOCKS[y < height / 2 ? 0 : 1][x < width / 2 ? 0 : 1]);
const quiet = (width: number, height: number): Pixels<Uint8Array> => paint(width, height, (x, y) => [90 + x, 120 + y, 100]);

function toSharp({ data, width, height, channels }: Pixels<Uint8Array>): Sharp {
  return sharp(data, { raw: { width, height, channels: channels as 3 } });
}

const picture = blocks(64, 32);
const noise = paint(64, 64, (x, y) => [(x * 37 + y * 91) % 251, (x * x + y * 13) % 241, (x * 5 + y * y * 3) % 239]);

/** The largest difference of any value. */
function difference(got: Pixels<Uint8Array>, wanted: Pixels<Uint8Array>): number {
  expect([got.width, got.height, got.channels]).toEqual([wanted.width, wanted.height, 3]);
  expect(got.data.length).toBe(wanted.data.length);
  return wanted.data.reduce((most, value, i) => Math.max(most, Math.abs(value - (got.data[i] as number))), 0);
}

const decoded = async (image: Sharp | Uint8Array): ReturnType<typeof decodeImage> =>
  decodeImage(save(image instanceof Uint8Array ? image : await image.toBuffer()));

describe('formats', () => {
  test.each<[string, () => Sharp, number]>([
    ['PNG', () => toSharp(picture).png(), 0],
    ['interlaced PNG', () => toSharp(picture).png({ progressive: true }), 0],
    ['JPEG', () => toSharp(picture).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }), 3],
    ['progressive JPEG', () => toSharp(picture).jpeg({ quality: 100, chromaSubsampling: '4:4:4', progressive: true }), 3],
    ['lossless WebP', () => toSharp(picture).webp({ lossless: true }), 0],
    ['GIF', () => toSharp(picture).gif(), 6],
    ['TIFF', () => toSharp(picture).tiff({ compression: 'none' }), 0],
    ['tiled TIFF', () => toSharp(picture).tiff({ compression: 'lzw', tile: true, tileWidth: 16, tileHeight: 16 }), 0],
    ['AVIF', () => toSharp(picture).avif({ lossless: true, chromaSubsampling: '4:4:4' }), 3],
  ])('%s', async (_name, image, bar) => {
    const { pixels, notes } = await decoded(image());
    expect(difference(pixels, picture)).toBeLessThanOrEqual(bar);
    expect(notes).toEqual([]);
  });
});

describe('EXIF orientation', () => {
  const UPRIGHT = 'turned upright by its EXIF orientation';
  /** Where the pixel at (x, y) of the upright image lies in the stored one of w x h; EXIF 2.32, tag 0x0112. */
  const stored: Readonly<Record<number, (x: number, y: number, w: number, h: number) => readonly [number, number]>> = {
    1: (x, y) => [x, y],
    2: (x, y, w) => [w - 1 - x, y],
    3: (x, y, w, h) => [w - 1 - x, h - 1 - y],
    4: (x, y, _w, h) => [x, h - 1 - y],
    5: (x, y) => [y, x],
    6: (x, y, _w, h) => [y, h - 1 - x],
    7: (x, y, w, h) => [w - 1 - y, h - 1 - x],
    8: (x, y, w) => [w - 1 - y, x],
  };
  const upright = (orientation: number): Pixels<Uint8Array> => {
    const { width: w, height: h, data } = picture;
    const [width, height] = orientation > 4 ? [h, w] : [w, h];
    return paint(width, height, (x, y) => {
      const [sx, sy] = stored[orientation]?.(x, y, w, h) ?? [0, 0];
      return [...data.slice((sy * w + sx) * 3, (sy * w + sx) * 3 + 3)];
    });
  };

  /** The picture as a JPEG, with an EXIF block of this one tag. */
  async function oriented(orientation: number): Promise<Buffer> {
    const jpeg = await toSharp(picture).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer();
    const block = Buffer.from('ffe1002245786966000049492a0008000000010012010300010000000000000000000000', 'hex');
    block.writeUInt16LE(orientation, 28);
    return Buffer.concat([jpeg.subarray(0, 2), block, jpeg.subarray(2)]);
  }

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('%i in a JPEG', async (orientation) => {
    const { pixels, notes } = await decoded(await oriented(orientation));
    expect(difference(pixels, upright(orientation))).toBeLessThanOrEqual(3);
    expect(notes).toEqual(orientation === 1 ? [] : [UPRIGHT]);
  });

  test.each([0, 9, 300])('%i, which means nothing', async (orientation) => {
    const { pixels, notes } = await decoded(await oriented(orientation));
    expect(difference(pixels, picture)).toBeLessThanOrEqual(3);
    expect(notes).toEqual([]);
  });

  test.each<[string, (image: Sharp) => Sharp]>([
    ['PNG', (image) => image.png()],
    ['WebP', (image) => image.webp({ lossless: true })],
    ['TIFF', (image) => image.tiff({ compression: 'none' })],
  ])('6 in a %s', async (_name, encode) => {
    const { pixels, notes } = await decoded(encode(toSharp(picture).withMetadata({ orientation: 6 })));
    expect(difference(pixels, upright(6))).toBe(0);
    expect(notes).toContain(UPRIGHT);
  });
});

describe('in strips of a few rows it is the same, as far as sharp decodes it by itself', () => {
  const fine = paint(61, 47, (x, y) => [(x * 37 + y * 91) % 251, (x * x + y * 13) % 241, (x * 5 + y * y * 3) % 239]);
  const image = (): Sharp => toSharp(fine);
  const FORMATS: [string, () => Sharp][] = [
    ['PNG', () => image().png()],
    ['interlaced PNG', () => image().png({ progressive: true })],
    ['16-bit PNG in Display P3', () => image().withIccProfile('p3').toColourspace('rgb16').png()],
    ['JPEG', () => image().jpeg()],
    ['progressive JPEG', () => image().jpeg({ progressive: true })],
    ['CMYK JPEG', () => image().toColourspace('cmyk').jpeg()],
    ['WebP', () => image().webp()],
    ['GIF', () => image().gif()],
    ['TIFF', () => image().tiff({ compression: 'lzw' })],
    ['tiled TIFF', () => image().tiff({ tile: true, tileWidth: 16, tileHeight: 16 })],
    ['AVIF', () => image().avif()],
  ];

  test.each(FORMATS)('%s', async (_name, encode) => {
    for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const bytes = await encode().withMetadata({ orientation }).toBuffer();
      const path = save(bytes);
      const { pixels } = await decodeImage(path);
      const { data, info } = await sharp(bytes).autoOrient().toColourspace('srgb').withIccProfile('srgb', { attach: false }).raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true }); // prettier-ignore
      expect(difference(pixels, { ...info, data }), `orientation ${orientation}`).toBe(0);
      for (const rows of [7, 46]) {
        const inStrips = await decodeImage(path, rows * 3 * fine.width);
        expect(Buffer.compare(inStrips.pixels.data, pixels.data), `${rows} rows, orientation ${orientation}`).toBe(0);
      }
    }
  });
});

describe('what is converted, and said', () => {
  const GREY = 'greyscale: all three channels are the same';
  const WHITE = 'transparency laid on white';
  const DEPTH = 'reduced to 8 bits a channel';
  const ramp = paint(64, 32, (x, y) => [x * 3 + y]);
  const greys = paint(64, 32, (x, y) => [x * 3 + y, x * 3 + y, x * 3 + y]);
  const faded = paint(64, 32, (x, y) => [200, 40 + x, 10, y * 8]);
  const onWhite = (pixels: Pixels<Uint8Array>): Pixels<Uint8Array> =>
    paint(pixels.width, pixels.height, (x, y) => {
      const at = (y * pixels.width + x) * pixels.channels;
      const alpha = pixels.data[at + pixels.channels - 1] ?? 0;
      return [0, 1, 2].map((c) =>
        Math.round(((pixels.data[at + (pixels.channels === 4 ? c : 0)] ?? 0) * alpha + 255 * (255 - alpha)) / 255),
      );
    });
  const fadedGrey = paint(64, 32, (x, y) => [x * 3, y * 8]);
  /** 16 bits: the 8-bit value in the upper byte, something below it in the lower. */
  const deep = (pixels: Pixels<Uint8Array>): Sharp =>
    sharp(
      Uint16Array.from(pixels.data, (value) => value * 256 + 100),
      { raw: { width: 64, height: 32, channels: pixels.channels as 3 } },
    );

  test.each<[string, () => Sharp, () => Pixels<Uint8Array>, number, string[]]>([
    ['grey JPEG', () => toSharp(ramp).toColourspace('b-w').jpeg({ quality: 100 }), () => greys, 2, [GREY]],
    ['grey PNG', () => toSharp(ramp).toColourspace('b-w').png(), () => greys, 0, [GREY]],
    ['grey PNG with alpha', () => toSharp(fadedGrey).toColourspace('b-w').png(), () => onWhite(fadedGrey), 0, [WHITE, GREY]],
    ['PNG with alpha', () => toSharp(faded).png(), () => onWhite(faded), 0, [WHITE]],
    ['WebP with alpha', () => toSharp(faded).webp({ lossless: true, exact: true }), () => onWhite(faded), 0, [WHITE]],
    ['PNG with a palette', () => toSharp(picture).png({ palette: true, colours: 8 }), () => picture, 6, []],
    ['16-bit PNG', () => deep(picture).toColourspace('rgb16').png(), () => picture, 0, [DEPTH]],
    ['16-bit grey PNG', () => deep(ramp).toColourspace('grey16').png(), () => greys, 0, [DEPTH, GREY]],
    ['16-bit PNG with alpha', () => deep(faded).toColourspace('rgb16').png(), () => onWhite(faded), 1, [WHITE, DEPTH]],
    [
      '10-bit AVIF',
      () => toSharp(picture).avif({ bitdepth: 10, lossless: true, chromaSubsampling: '4:4:4' }),
      () => picture,
      3,
      [DEPTH],
    ],
    [
      'TIFF of floats',
      () => toSharp(quiet(64, 32)).toColourspace('scrgb').tiff({ compression: 'none' }),
      () => quiet(64, 32),
      1,
      [DEPTH],
    ],
    ['16-bit TIFF', () => deep(picture).toColourspace('rgb16').tiff({ compression: 'none' }), () => picture, 0, [DEPTH]],
    [
      'CMYK JPEG',
      () => toSharp(quiet(64, 32)).toColourspace('cmyk').jpeg({ quality: 100 }),
      () => quiet(64, 32),
      24,
      ['CMYK colours converted to sRGB'],
    ],
    [
      'CMYK TIFF',
      () => toSharp(quiet(64, 32)).toColourspace('cmyk').tiff({ compression: 'none' }),
      () => quiet(64, 32),
      24,
      ['CMYK colours converted to sRGB'],
    ],
    [
      'black and white TIFF',
      () =>
        toSharp(paint(64, 32, (x) => [x < 20 ? 0 : 255]))
          .toColourspace('b-w')
          .tiff({ bitdepth: 1, compression: 'none' }),
      () => paint(64, 32, (x) => (x < 20 ? [0, 0, 0] : [255, 255, 255])),
      0,
      [GREY],
    ],
    ['Lab TIFF', () => toSharp(quiet(64, 32)).toColourspace('lab').tiff({ compression: 'none' }), () => quiet(64, 32), 3, [DEPTH]],
    [
      'PNG with an alpha channel and nothing transparent',
      () => toSharp(paint(64, 32, (x, y) => [90 + x, 120 + y, 100, 255])).png(),
      () => quiet(64, 32),
      0,
      [],
    ],
  ])('%s', async (_name, image, wanted, bar, expected) => {
    const { pixels, notes } = await decoded(image());
    expect(notes).toEqual(expected);
    expect(difference(pixels, wanted())).toBeLessThanOrEqual(bar);
  });

  test.each<[string, (frames: Sharp) => Sharp, number]>([
    ['GIF', (frames) => frames.gif(), 6],
    ['WebP', (frames) => frames.webp({ lossless: true }), 0],
  ])('an animated %s: its first frame', async (_name, encode, bar) => {
    const frames = [picture, quiet(64, 32), paint(64, 32, () => [0, 0, 0])].map(({ data, width, height }) => ({
      input: data,
      raw: { width, height, channels: 3 as const },
    }));
    const pngs = await Promise.all(frames.map(({ input, raw }) => sharp(input, { raw }).png().toBuffer()));
    const { pixels, notes } = await decoded(encode(sharp(pngs, { join: { animated: true } })));
    expect(difference(pixels, picture)).toBeLessThanOrEqual(bar);
    expect(notes).toEqual(['animated: only the first of 3 frames is used']);
  });

  test('a TIFF of several pages: its first', async () => {
    const pages = await Promise.all([picture, quiet(64, 32)].map((page) => toSharp(page).png().toBuffer()));
    const { pixels, notes } = await decoded(sharp(pages, { join: { animated: true } }).tiff({ compression: 'none' }));
    expect(difference(pixels, picture)).toBe(0);
    expect(notes).toEqual(['several pages: only the first of 2 pages is used']);
  });

  describe('a colour profile: the colours that are meant, not the numbers that are stored', () => {
    const wanted = quiet(64, 32);
    const PROFILE = 'colour profile converted to sRGB';
    const profiled = async (profile: 'p3' | 'srgb'): Promise<{ png: Buffer; numbers: Pixels<Uint8Array>; icc: Buffer }> => {
      const png = await toSharp(wanted).withIccProfile(profile).png().toBuffer();
      const numbers = { ...wanted, data: new Uint8Array(await sharp(png, { ignoreIcc: true }).raw().toBuffer()) };
      return { png, numbers, icc: (await sharp(png).metadata()).icc ?? expect.unreachable() };
    };

    test('Display P3, 8 bits', async () => {
      const { png, numbers } = await profiled('p3');
      expect(difference(numbers, wanted), 'the stored numbers are others').toBeGreaterThan(10);
      const { pixels, notes } = await decoded(png);
      expect(difference(pixels, wanted)).toBeLessThanOrEqual(1);
      expect(notes).toEqual([PROFILE]);
    });

    test('sRGB itself, 8 bits: nothing to say', async () => {
      const { pixels, notes } = await decoded((await profiled('srgb')).png);
      expect(difference(pixels, wanted)).toBeLessThanOrEqual(1);
      expect(notes).toEqual([]);
    });

    test.each(['p3', 'srgb'] as const)('%s, 16 bits', async (profile) => {
      const { numbers, icc } = await profiled(profile);
      const { pixels, notes } = await decoded(withProfile(await deep(numbers).toColourspace('rgb16').png().toBuffer(), icc));
      expect(difference(pixels, wanted)).toBeLessThanOrEqual(2);
      expect(notes).toEqual(profile === 'srgb' ? [DEPTH] : [PROFILE, DEPTH]);
    });

    test.each([8, 16])('one that is nonsense, %i bits: the numbers that are stored', async (bits) => {
      const image = bits === 8 ? toSharp(wanted) : deep(wanted).toColourspace('rgb16');
      const { pixels } = await decoded(withProfile(await image.png().toBuffer(), Buffer.alloc(200, 7)));
      expect(difference(pixels, wanted)).toBeLessThanOrEqual(1);
    });
  });

  test('a very long image is taken, and its middle is named', async () => {
    const { pixels, notes } = await decoded(toSharp(paint(20000, 20, (x) => [x % 256, 0, 0])).png());
    expect([pixels.width, pixels.height]).toEqual([20000, 20]);
    expect(notes).toEqual(['20000 x 20: only its middle square is seen']);
  });

  test.each([[48, 16, 0], [49, 16, 1], [16, 49, 1]])('%i x %i: %i notes on its shape', async (width, height, count) => {
    const { notes } = await decoded(toSharp(quiet(width, height)).png());
    expect(notes).toHaveLength(count);
  }); // prettier-ignore
});

describe('a file that other programs take is taken', () => {
  test('a JPEG with other data behind it', async () => {
    const jpeg = await toSharp(picture).jpeg().toBuffer();
    const { pixels } = await decoded(Buffer.concat([jpeg, Buffer.from('a video of two seconds'.repeat(50))]));
    expect([pixels.width, pixels.height]).toEqual([64, 32]);
  });

  test('a PNG with other data behind it', async () => {
    const png = await toSharp(picture).png().toBuffer();
    const { pixels } = await decoded(Buffer.concat([png, Buffer.alloc(100)]));
    expect(difference(pixels, picture)).toBe(0);
  });

  test('an image of the smallest size', async () => {
    const { pixels } = await decoded(toSharp(quiet(16, 16)).png());
    expect(difference(pixels, quiet(16, 16))).toBe(0);
  });
});

/** A PNG with another colour profile, behind its first chunk of 33 bytes. */
function withProfile(png: Buffer, icc: Buffer): Buffer {
  const profile = chunk('iCCP', Buffer.concat([Buffer.from('name\0\0', 'latin1'), deflateSync(icc)]));
  return Buffer.concat([png.subarray(0, 33), profile, png.subarray(33)]);
}

describe('a file that is no usable image is refused by name', () => {
  const png = toSharp(noise).png();
  const cut = async (image: Sharp, part: number): Promise<Buffer> => {
    const bytes = await image.toBuffer();
    return bytes.subarray(0, Math.floor(bytes.length * part));
  };
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64"/></svg>';
  const invalid: [string, () => Promise<Uint8Array | string> | Uint8Array | string, RegExp][] = [
    ['0 bytes', () => '', /is empty \(0 bytes\)/],
    ['one byte', () => 'x', /not an image/],
    ['a text', () => 'not an image at all\n'.repeat(50), /not an image/],
    ['a web page', () => '<!doctype html><html><body>no such page</body></html>', /not an image/],
    ['a PDF', () => '%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF', /not an image|not supported/],
    ['an SVG', () => svg, /svg files are not supported/],
    ['an SVG behind an XML declaration', () => `<?xml version="1.0"?>\n<!-- x -->\n${svg}`, /svg files are not supported/],
    ['zeros', () => Buffer.alloc(5000), /not an image/],
    ['a JPEG of its first bytes', () => cut(toSharp(noise).jpeg(), 0.01), /not an image|damaged/],
    ['a third of a JPEG', () => cut(toSharp(noise).jpeg(), 0.33), /damaged or cut off/],
    ['nearly all of a JPEG', () => cut(toSharp(noise).jpeg(), 0.95), /damaged or cut off/],
    ['half of a progressive JPEG', () => cut(toSharp(noise).jpeg({ progressive: true }), 0.5), /damaged or cut off/],
    ['a PNG of its first bytes', () => cut(png, 0.002), /not an image|damaged/],
    ['half of a PNG', () => cut(png, 0.5), /damaged or cut off/],
    ['nearly all of a PNG', () => cut(png, 0.97), /damaged or cut off/],
    ['half of a WebP', () => cut(toSharp(noise).webp(), 0.5), /not an image|damaged/],
    ['half of a GIF', () => cut(toSharp(noise).gif(), 0.5), /not an image|damaged/],
    ['half of a TIFF', () => cut(toSharp(noise).tiff({ compression: 'none' }), 0.5), /not an image|damaged/],
    ['half of an AVIF', () => cut(toSharp(noise).avif(), 0.5), /not an image|damaged/],
    ['a PNG with a changed byte', async () => { const bytes = await png.toBuffer(); bytes[bytes.length >> 1]! ^= 0xff; return bytes; }, /damaged/],
    ['a PNG without pixels', () => claimingPng(64, 64), /damaged or cut off/],
  ]; // prettier-ignore

  test.each(invalid)('%s', async (_name, bytes, says) => {
    const path = save(await bytes(), 'jpg');
    expectRefusal(await rejectionOf(decodeImage(path)), 'IMAGE_INVALID', path, says);
  });

  test.each([[1, 1], [15, 400], [400, 15]])('%i x %i is too small', async (width, height) => {
    const path = save(await toSharp(quiet(width, height)).png().toBuffer());
    const error = await rejectionOf(decodeImage(path));
    expectRefusal(error, 'IMAGE_TOO_SMALL', path, new RegExp(`${width} x ${height} pixels is too small; each side needs 16`));
    expect(error.fields).toMatchObject({ width, height });
  }); // prettier-ignore

  test.each([
    [20_000, 20_000],
    [MAX_PIXELS / 100 + 1, 100],
  ])('%i x %i is too large, and not decoded to find out', async (width, height) => {
    const path = save(claimingPng(width, height));
    const started = performance.now();
    expectRefusal(await rejectionOf(decodeImage(path)), 'IMAGE_TOO_LARGE', path, /smaller than 150 megapixels/);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test('a missing file, and a folder', async () => {
    const [missing, aFolder] = [join(folder, 'missing.png'), join(folder, 'folder.png')];
    mkdirSync(aFolder);
    expectRefusal(await rejectionOf(decodeImage(missing)), 'FILE_NOT_FOUND', missing, /no such file/);
    expectRefusal(await rejectionOf(decodeImage(aFolder)), 'FILE_UNREADABLE', aFolder, /it is a folder/);
  });

  test.skipIf(process.platform === 'win32')('a pipe, which would keep a reader waiting', async () => {
    const path = join(folder, 'pipe.png');
    execFileSync('mkfifo', [path]);
    expectRefusal(await rejectionOf(decodeImage(path)), 'FILE_UNREADABLE', path, /not a regular file/);
  });
});

test('a damaged file by chance: pixels of the right number, or an error of ours', async () => {
  const files = await Promise.all([toSharp(noise).png(), toSharp(noise).jpeg(), toSharp(noise).webp(), toSharp(noise).gif(), toSharp(noise).tiff()].map((image) => image.toBuffer()));
  const outcomes: Record<string, number> = {};
  const property = fc.asyncProperty(fc.nat(files.length - 1), fc.array(fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat(255)), { maxLength: 4 }), fc.double({ min: 0.5, max: 1.5, noNaN: true }), async (which, changes, keep) => {
    const bytes = Buffer.from(files[which] as Buffer);
    for (const [place, value] of changes) bytes[Math.floor(place * bytes.length)] = value;
    const path = join(folder, 'damaged.img');
    writeFileSync(path, bytes.subarray(0, Math.ceil(Math.min(1, keep) * bytes.length)));
    let outcome = 'decoded';
    try {
      const { pixels } = await decodeImage(path);
      expect(pixels.data.length).toBe(pixels.width * pixels.height * 3);
    } catch (error) {
      if (!(error instanceof I2lError)) throw error;
      outcome = error.code;
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  });
  await fc.assert(property, { seed: 3, numRuns: 300 });
  expect(Object.keys(outcomes).sort()).toEqual(expect.arrayContaining(['IMAGE_INVALID', 'decoded']));
  expect(Object.keys(outcomes).filter((code) => !['IMAGE_INVALID', 'IMAGE_TOO_SMALL', 'IMAGE_TOO_LARGE', 'decoded'].includes(code))).toEqual([]);
}); // prettier-ignore
