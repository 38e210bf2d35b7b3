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

/** One pass: the taps of each output sample, and what makes samples of their sums. */
interface Pass<Data> {
  readonly taps: readonly Taps[];
  readonly finish: (sums: Float64Array, out: Data) => void;
}

/** Weights as integers, rounded halves away from zero; the sums come back to 8 bits, halves up. */
function fixedPass(taps: readonly Taps[], rounding: Rounding): Pass<Uint8Array> {
  const bits = rounding === 'pillow' ? PILLOW_BITS : torchBits(taps);
  const one = 2 ** bits;
  return {
    taps: taps.map(({ first, weights }) => ({ first, weights: weights.map((w) => Math.trunc(w * one + Math.sign(w) * 0.5)) })),
    finish: (sums, out) => {
      for (let i = 0; i < sums.length; i++) {
        const value = Math.floor(((sums[i] as number) + one / 2) / one);
        out[i] = value < 0 ? 0 : value > 255 ? 255 : value;
      }
    },
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
  return resample(source, { to, window: wholeOf(to), kernel: BILINEAR }, allocate, (taps) => ({
    taps,
    finish: (sums, out) => out.set(sums),
  }));
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
  prepare: (taps: readonly Taps[]) => Pass<Data>,
): Pixels<Data> {
  const { channels } = source;
  const columns = prepare(filterTaps(kernel, source.width, to.width, window.left, window.width));
  const rows = prepare(filterTaps(kernel, source.height, to.height, window.top, window.height));
  // The vertical pass needs only these rows of the horizontal one.
  const top = rows.taps[0]?.first ?? 0;
  const last = rows.taps.at(-1);
  const bottom = last ? last.first + last.weights.length : top;
  const stride = window.width * channels;
  const sums = new Float64Array(stride);
  const middle = allocate((bottom - top) * stride);
  for (let y = top; y < bottom; y++) {
    const line = source.data.subarray(y * source.width * channels, (y + 1) * source.width * channels) as Data;
    const out = middle.subarray((y - top) * stride, (y - top + 1) * stride) as Data;
    if (source.width === to.width) out.set(line.subarray(window.left * channels, (window.left + window.width) * channels));
    else columns.finish(resampleLine(line, columns.taps, channels, sums), out);
  }
  const data = allocate(window.width * window.height * channels);
  rows.taps.forEach(({ first, weights }, y) => {
    const out = data.subarray(y * stride, (y + 1) * stride) as Data;
    const same = window.top + y - top;
    if (source.height === to.height) out.set(middle.subarray(same * stride, (same + 1) * stride));
    else rows.finish(mixLines(middle, (first - top) * stride, weights, sums), out);
  });
  return { data, width: window.width, height: window.height, channels };
}

/** @returns `sums`, filled */
function resampleLine(line: Uint8Array | Float32Array, taps: readonly Taps[], channels: number, sums: Float64Array): Float64Array {
  for (let x = 0; x < taps.length; x++) {
    const { first, weights } = taps[x] as Taps;
    for (let channel = 0; channel < channels; channel++) {
      let sum = 0;
      let at = first * channels + channel;
      for (let tap = 0; tap < weights.length; tap++, at += channels) sum += (line[at] as number) * (weights[tap] as number);
      sums[x * channels + channel] = sum;
    }
  }
  return sums;
}

/** The sum of whole lines, each by its weight, from index `start` on. @returns `sums`, filled */
function mixLines(lines: Uint8Array | Float32Array, start: number, weights: Float64Array, sums: Float64Array): Float64Array {
  sums.fill(0);
  for (let tap = 0, at = start; tap < weights.length; tap++) {
    const weight = weights[tap] as number;
    for (let x = 0; x < sums.length; x++, at++) sums[x] = (sums[x] as number) + (lines[at] as number) * weight;
  }
  return sums;
}
