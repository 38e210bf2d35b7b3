import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cropByRow, dinoPixels, roundHalfEven, siglipPixels } from '../../main/imaging/preprocess.ts';
import { bytesByRow, resampleBytes, resampleFloats, withRowsOf, type Pixels, type Size } from '../../main/imaging/resample.ts';

const RUNS = { seed: 5, numRuns: 300 };

test.each([
  [0, 0],
  [0.5, 0],
  [1.5, 2],
  [2.5, 2],
  [1550.5, 1550],
  [1551.5, 1552],
  [0.49999999999999994, 0],
  [0.5000000000000001, 1],
  [2.4, 2],
  [2.6, 3],
  [-0.5, 0],
  [-1.5, -2],
  [-2.5, -2],
  [-2.6, -3],
])('roundHalfEven(%d) is %d', (value, rounded) => {
  expect(roundHalfEven(value) + 0).toBe(rounded); // + 0: Python's round() gives an integer, which has no -0
});

const side = fc.integer({ min: 1, max: 24 });
const size = fc.record({ width: side, height: side });
const image = fc
  .tuple(size, fc.integer({ min: 1, max: 3 }))
  .chain(([{ width, height }, channels]) =>
    fc
      .uint8Array({ minLength: width * height * channels, maxLength: width * height * channels })
      .map((data): Pixels<Uint8Array> => ({ data, width, height, channels })),
  );
const asFloats = (source: Pixels<Uint8Array>): Pixels<Float32Array> => ({ ...source, data: Float32Array.from(source.data) });

const triangle = (x: number): number => Math.max(0, 1 - x);
const cubic = (x: number): number =>
  x >= 2 ? 0 : x >= 1 ? -0.5 * (x ** 3 - 5 * x ** 2 + 8 * x - 4) : 1.5 * x ** 3 - 2.5 * x ** 2 + 1;

/** The filter by its definition, in f64: each result is a weighted mean over both axes at once. */
function reference({ data, width, height, channels }: Pixels<Uint8Array>, to: Size, kernel = triangle): number[] {
  const weights = (from: number, count: number, at: number): number[] => {
    const [centre, support] = [((at + 0.5) * from) / count, Math.max(1, from / count)];
    const raw = Array.from({ length: from }, (_, i) => kernel(Math.abs(i + 0.5 - centre) / support));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return raw.map((weight) => weight / sum);
  };
  const out: number[] = [];
  for (let y = 0; y < to.height; y++) {
    const down = weights(height, to.height, y);
    for (let x = 0; x < to.width; x++) {
      const across = weights(width, to.width, x);
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        down.forEach((v, j) => across.forEach((w, i) => (sum += v * w * (data[(j * width + i) * channels + c] as number))));
        out.push(sum);
      }
    }
  }
  return out;
}

const largestDifference = (a: ArrayLike<number>, b: readonly number[]): number =>
  Math.max(...b.map((value, i) => Math.abs(value - (a[i] as number))));

describe('resampling', () => {
  test('in floats is the triangle filter', () => {
    const property = fc.property(image, size, (source, to) => {
      const result = resampleFloats(asFloats(source), to);
      expect(result).toMatchObject({ ...to, channels: source.channels });
      expect(largestDifference(result.data, reference(source, to))).toBeLessThan(1e-4);
    });
    fc.assert(property, RUNS);
  });

  test.each(['pillow', 'torch'] as const)('in bytes as %s does is at most a rounding away from it', (rounding) => {
    const property = fc.property(image, size, (source, to) => {
      // Half a level in each pass, and the rounded weights.
      expect(largestDifference(resampleBytes(source, to, { rounding }).data, reference(source, to))).toBeLessThan(1.02);
    });
    fc.assert(property, RUNS);
  });

  test('bicubic in bytes, along one axis, is at most a rounding away from the cubic filter, cut to a byte', () => {
    const property = fc.property(image, side, fc.boolean(), (source, length, isWidth) => {
      const to = isWidth ? { width: length, height: source.height } : { width: source.width, height: length };
      const wanted = reference(source, to, cubic).map((value) => Math.max(0, Math.min(255, value)));
      expect(largestDifference(resampleBytes(source, to, { rounding: 'torch', filter: 'bicubic' }).data, wanted)).toBeLessThan(0.6);
    });
    fc.assert(property, RUNS);
  });

  test.each(['bilinear', 'bicubic'] as const)('to the same size changes nothing (%s)', (filter) => {
    const property = fc.property(image, fc.constantFrom('pillow', 'torch'), (source, rounding) => {
      expect(resampleBytes(source, source, { rounding, filter })).toEqual(source);
    });
    fc.assert(property, RUNS);
  });

  test.each(['pillow', 'torch'] as const)('of one colour keeps it (%s)', (rounding) => {
    const property = fc.property(fc.nat(255), size, fc.record({ width: fc.nat(99), height: fc.nat(99) }), (value, from, more) => {
      const source: Pixels<Uint8Array> = { data: new Uint8Array(from.width * from.height).fill(value), ...from, channels: 1 };
      const to = { width: more.width + 1, height: more.height + 1 };
      expect(new Set(resampleBytes(source, to, { rounding }).data)).toEqual(new Set([value]));
      for (const result of resampleFloats(asFloats(source), to).data)
        if (Math.abs(result - value) > 1e-4) expect.fail(`${result} for ${value}`);
    });
    fc.assert(property, RUNS);
  });

  test('a window is that part of the whole', () => {
    const windowed = fc.tuple(image, size).chain(([source, to]) =>
      fc.record({ left: fc.nat(to.width - 1), top: fc.nat(to.height - 1) }).chain(({ left, top }) =>
        fc.record({ width: fc.integer({ min: 1, max: to.width - left }), height: fc.integer({ min: 1, max: to.height - top }) }).map((part) => ({ source, to, window: { left, top, ...part } })),
      ),
    ); // prettier-ignore
    const property = fc.property(windowed, ({ source, to, window }) => {
      const whole = resampleBytes(source, to, { rounding: 'pillow' });
      const part = resampleBytes(source, to, { rounding: 'pillow', window });
      const rowOf = (y: number): Uint8Array =>
        whole.data.slice(((window.top + y) * to.width + window.left) * whole.channels).slice(0, window.width * whole.channels);
      expect(part).toMatchObject({ width: window.width, height: window.height });
      expect(part.data).toEqual(Uint8Array.from(Array.from({ length: window.height }, (_, y) => [...rowOf(y)]).flat()));
    });
    fc.assert(property, RUNS);
  });
});

describe('an image that comes line by line', () => {
  const { data, width, height, channels }: Pixels<Uint8Array> = {
    data: Uint8Array.from({ length: 31 * 17 * 3 }, (_, i) => (i * 37 + (i % 11) * 91) % 256),
    width: 31,
    height: 17,
    channels: 3,
  };
  const row = (y: number): Uint8Array => data.subarray(y * width * channels, (y + 1) * width * channels);
  const column = (x: number): Uint8Array =>
    Uint8Array.from(
      { length: height * channels },
      (_, i) => data[(Math.floor(i / channels) * width + x) * channels + (i % channels)] as number,
    );

  describe.each([
    { width: 7, height: 4 },
    { width: 40, height: 9 },
    { width: 31, height: 60 },
  ])('to $width x $height', (to) => {
    const options = { rounding: 'pillow', window: { left: 1, top: 1, width: 5, height: 3 } } as const;
    const wanted = resampleBytes({ data, width, height, channels }, to, options).data;

    test.each([
      ['rows from the bottom', false, height, row],
      ['columns from the right', true, width, column],
    ] as const)('%s', (_name, byColumns, count, line) => {
      const resampler = bytesByRow({ width, height, channels, byColumns }, to, options);
      for (let i = count - 1; i >= 0; i--) resampler.add(i, line(i));
      expect(resampler.pixels.data).toEqual(wanted);
    });
  });
});

describe('cropByRow', () => {
  /** Each pixel says where it is: (x, y, 7). */
  const places = (width: number, height: number): Pixels<Uint8Array> => ({
    data: Uint8Array.from(
      { length: width * height * 3 },
      (_, i) => [Math.floor(i / 3) % width, Math.floor(i / 3 / width), 7][i % 3] as number,
    ),
    width,
    height,
    channels: 3,
  });

  test.each([
    ['a square', 8, 8, 0, 0],
    ['an even rest', 12, 8, 2, 0],
    ['half a pixel to the even side', 9, 8, 0, 0],
    ['one and a half to the even side', 11, 8, 2, 0],
    ['two and a half to the even side', 13, 8, 2, 0],
    ['a portrait', 8, 20, 0, 6],
    ['an odd portrait', 8, 15, 0, 4],
  ])('%s: %i x %i from (%i, %i)', (_name, width, height, left, top) => {
    const image = places(width, height);
    const { data } = withRowsOf(image, cropByRow(image, 8));
    expect([...data.slice(0, 3)]).toEqual([left, top, 7]);
    expect([...data.slice(-3)]).toEqual([left + 7, top + 7, 7]);
  });

  test.each([
    [16, 16],
    [20, 24],
    [640, 480],
    [16, 3000],
    [3000, 16],
    [1025, 1024],
  ])('%i x %i covers 1024 x 1024', (width, height) => {
    const colours = [200, 100, 50];
    const source = {
      data: Uint8Array.from({ length: width * height * 3 }, (_, i) => colours[i % 3] as number),
      width,
      height,
      channels: 3,
    };
    const crop = withRowsOf(source, cropByRow(source));
    expect(crop).toMatchObject({ width: 1024, height: 1024, channels: 3 });
    expect(crop.data.length).toBe(1024 * 1024 * 3);
    expect(crop.data.findIndex((value, i) => value !== colours[i % 3])).toBe(-1);
  });
});

describe('what the encoders read', () => {
  const colours = [255, 128, 0];
  const crop: Pixels<Uint8Array> = {
    data: Uint8Array.from({ length: 48 }, (_, i) => colours[i % 3] as number),
    width: 4,
    height: 4,
    channels: 3,
  };
  test.each([
    ['siglip', siglipPixels, colours.map((value) => (value / 255 - 0.5) / 0.5)],
    ['dino', dinoPixels, [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]],
  ] as const)('%s: channels apart, each normalised', (_name, pixelsOf, wanted) => {
    const { data, dims } = pixelsOf(crop, 2);
    expect(dims).toEqual([1, 3, 2, 2]);
    data.forEach((value: number | bigint, i: number) => expect(value).toBeCloseTo(wanted[Math.floor(i / 4)] ?? NaN, 5));
  });

  test('rows stay rows', () => {
    const rising: Pixels<Uint8Array> = {
      data: Uint8Array.from({ length: 12 }, (_, i) => Math.floor(i / 3) * 60),
      width: 2,
      height: 2,
      channels: 3,
    };
    expect([...siglipPixels(rising, 2).data.slice(0, 4)]).toEqual(
      [0, 60, 120, 180].map((value) => Math.fround((value - 127.5) / 127.5)),
    );
  });
});
