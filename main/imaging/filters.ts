/**
 * Bilinear and bicubic resampling with antialiasing: when an image shrinks, the filter widens with it. These
 * are Pillow's filters (libImaging/Resample.c), which torch's antialiased interpolation follows; the
 * encoders were trained on its output, so its rounding is kept too.
 */

/** The input samples that one output sample is made of. */
export interface Taps {
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
export interface Kernel {
  readonly support: number;
  readonly weight: (distance: number) => number;
}

export const BILINEAR: Kernel = { support: 1, weight: (distance) => Math.max(0, 1 - distance) };

/** Keys' cubic convolution with a = -1/2, https://doi.org/10.1109/TASSP.1981.1163711 */
const BICUBIC: Kernel = {
  support: 2,
  weight: (x) => {
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  },
};

export type Filter = 'bilinear' | 'bicubic';
export const KERNELS: Readonly<Record<Filter, Kernel>> = { bilinear: BILINEAR, bicubic: BICUBIC };

/** Weights of output samples first .. first + count when `from` samples become `to`. They sum to 1. */
export function filterTaps(kernel: Kernel, from: number, to: number, first: number, count: number): Taps[] {
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

/** Values of pixels. */
export type Samples = Uint8Array | Float32Array;

/** One pass: the taps of each output sample, and what makes samples of their sums. */
export interface Pass<Data extends Samples> {
  readonly taps: readonly Taps[];
  readonly finish: (sums: Float64Array, out: Data) => void;
}

/** Weights as integers, rounded halves away from zero; the sums come back to 8 bits, halves up. */
export function fixedPass(taps: readonly Taps[], rounding: Rounding): Pass<Uint8Array> {
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
