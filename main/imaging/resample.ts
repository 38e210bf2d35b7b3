/**
 * Bilinear and bicubic resampling with antialiasing: when an image shrinks, the filter widens with it. These
 * are Pillow's filters (libImaging/Resample.c), which torch's antialiased interpolation follows; the
 * encoders were trained on its output, so its rounding is kept too.
 */

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A part of the result, in its pixels; only this much is computed. */
export interface Window extends Size {
  readonly left: number;
  readonly top: number;
}

/** Interleaved channels, row by row. */
export interface Pixels<Data extends Uint8Array | Float32Array> extends Size {
  readonly data: Data;
  readonly channels: number;
}

/** The input samples that one output sample is made of. */
interface Taps {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * Both libraries keep the weights for 8-bit images as integers. Pillow has 22 fractional bits; torch has
 * as many as let the largest weight of a pass fit in 16 bits (aten/native/cpu/UpSampleKernel.cpp).
 */
export type Rounding = 'pillow' | 'torch';
const PILLOW_BITS = 22;

/** How much a sample counts by its distance; none from `support` on. */
interface Kernel {
  readonly support: number;
  readonly weight: (distance: number) => number;
}

const BILINEAR: Kernel = { support: 1, weight: (distance) => Math.max(0, 1 - distance) };

/** Keys' cubic convolution with a = -1/2, https://doi.org/10.1109/TASSP.1981.1163711 */
const BICUBIC: Kernel = {
  support: 2,
  weight: (x) => {
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  },
};

export type Filter = 'bilinear' | 'bicubic';
const KERNELS: Readonly<Record<Filter, Kernel>> = { bilinear: BILINEAR, bicubic: BICUBIC };

/** Weights of output samples first .. first + count when `from` samples become `to`. They sum to 1. */
function filterTaps(kernel: Kernel, from: number, to: number, first: number, count: number): Taps[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = kernel.support * stretch;
  return Array.from({ length: count }, (_, i) => {
    const centre = (first + i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = new Float64Array(high - low);
    let sum = 0;
    for (let x = 0; x < weights.length; x++) {
      weights[x] = kernel.weight(Math.abs((low + x - centre + 0.5) / stretch));
      sum += weights[x] as number;
    }
    for (let x = 0; x < weights.length; x++) weights[x] = (weights[x] as number) / sum;
    return { first: low, weights };
  });
}

/** One pass: the taps of each output sample, and what makes a sample of their sum. */
interface Pass {
  readonly taps: readonly Taps[];
  readonly finish: (sum: number) => number;
}

/** Weights as integers, rounded halves away from zero; the sums come back to 8 bits, halves up. */
function fixedPass(taps: readonly Taps[], rounding: Rounding): Pass {
  const bits = rounding === 'pillow' ? PILLOW_BITS : torchBits(taps);
  const one = 2 ** bits;
  return {
    taps: taps.map(({ first, weights }) => ({ first, weights: weights.map((w) => Math.trunc(w * one + Math.sign(w) * 0.5)) })),
    finish: (sum) => Math.max(0, Math.min(255, Math.floor((sum + one / 2) / one))),
  };
}

function torchBits(taps: readonly Taps[]): number {
  const largest = Math.max(...taps.map(({ weights }) => Math.max(...weights)));
  let bits = 0;
  while (bits < PILLOW_BITS && Math.floor(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits++;
  return bits;
}

export interface ByteOptions {
  readonly rounding: Rounding;
  readonly filter?: Filter;
  /** What is computed of the result; all of it if this is left out. */
  readonly window?: Window;
}

/** 8 bits in, 8 bits out, rounded after each of the two passes. */
export function resampleBytes(
  source: Pixels<Uint8Array>,
  to: Size,
  { rounding, filter = 'bilinear', window = wholeOf(to) }: ByteOptions,
): Pixels<Uint8Array> {
  const allocate = (length: number): Uint8Array => new Uint8Array(length);
  return resample(source, { to, window, kernel: KERNELS[filter] }, allocate, (taps) => fixedPass(taps, rounding));
}

/** The bilinear filter in floating point, as torch resizes a float image. */
export function resampleFloats(source: Pixels<Float32Array>, to: Size): Pixels<Float32Array> {
  const allocate = (length: number): Float32Array => new Float32Array(length);
  return resample(source, { to, window: wholeOf(to), kernel: BILINEAR }, allocate, (taps) => ({ taps, finish: (sum) => sum }));
}

function wholeOf({ width, height }: Size): Window {
  return { left: 0, top: 0, width, height };
}

interface Request {
  readonly to: Size;
  readonly window: Window;
  readonly kernel: Kernel;
}

function resample<Data extends Uint8Array | Float32Array>(
  source: Pixels<Data>,
  { to, window, kernel }: Request,
  allocate: (length: number) => Data,
  prepare: (taps: readonly Taps[]) => Pass,
): Pixels<Data> {
  const { channels } = source;
  const columns = prepare(filterTaps(kernel, source.width, to.width, window.left, window.width));
  const rows = prepare(filterTaps(kernel, source.height, to.height, window.top, window.height));
  // The vertical pass needs only these rows of the horizontal one.
  const top = rows.taps[0]?.first ?? 0;
  const last = rows.taps.at(-1);
  const bottom = last ? last.first + last.weights.length : top;
  const middle = allocate((bottom - top) * window.width * channels);
  for (let y = top; y < bottom; y++) {
    const line = source.data.subarray(y * source.width * channels, (y + 1) * source.width * channels) as Data;
    const out = middle.subarray((y - top) * window.width * channels) as Data;
    if (source.width === to.width) out.set(line.subarray(window.left * channels, (window.left + window.width) * channels));
    else resampleLine(line, columns, channels, out);
  }
  const data = allocate(window.width * window.height * channels);
  const stride = window.width * channels;
  rows.taps.forEach(({ first, weights }, y) => {
    const out = data.subarray(y * stride, (y + 1) * stride) as Data;
    const same = window.top + y - top;
    if (source.height === to.height) out.set(middle.subarray(same * stride, (same + 1) * stride));
    else mixLines(middle, (first - top) * stride, weights, out, rows.finish);
  });
  return { data, width: window.width, height: window.height, channels };
}

function resampleLine(
  line: Uint8Array | Float32Array,
  { taps, finish }: Pass,
  channels: number,
  out: Uint8Array | Float32Array,
): void {
  for (let x = 0; x < taps.length; x++) {
    const { first, weights } = taps[x] as Taps;
    for (let channel = 0; channel < channels; channel++) {
      let sum = 0;
      let at = first * channels + channel;
      for (let tap = 0; tap < weights.length; tap++, at += channels) sum += (line[at] as number) * (weights[tap] as number);
      out[x * channels + channel] = finish(sum);
    }
  }
}

function mixLines(
  lines: Uint8Array | Float32Array,
  start: number,
  weights: Float64Array,
  out: Uint8Array | Float32Array,
  finish: (sum: number) => number,
): void {
  const stride = out.length;
  for (let x = 0; x < stride; x++) {
    let sum = 0;
    let at = start + x;
    for (let tap = 0; tap < weights.length; tap++, at += stride) sum += (lines[at] as number) * (weights[tap] as number);
    out[x] = finish(sum);
  }
}
