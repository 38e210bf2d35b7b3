import {
  BILINEAR,
  filterTaps,
  fixedPass,
  KERNELS,
  type Filter,
  type Kernel,
  type Pass,
  type Rounding,
  type Samples,
  type Taps,
} from './filters.ts';

/** Resampling with the filters of filters.ts, of whole images and of images that come row by row. */

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
export interface Pixels<Data extends Samples> extends Size {
  readonly data: Data;
  readonly channels: number;
}

export interface ByteOptions {
  readonly rounding: Rounding;
  readonly filter?: Filter;
  /** What is computed of the result; all of it if this is left out. */
  readonly window?: Window;
}

/** 8 bits in, 8 bits out, rounded after each of the two passes. */
export function resampleBytes(source: Pixels<Uint8Array>, to: Size, options: ByteOptions): Pixels<Uint8Array> {
  return withRowsOf(source, bytesByRow(source, to, options));
}

/** The same of an image whose rows come one by one. */
export function bytesByRow(
  source: RowSource,
  to: Size,
  { rounding, filter = 'bilinear', window = wholeOf(to) }: ByteOptions,
): RowResampler<Uint8Array> {
  const allocate = (length: number): Uint8Array => new Uint8Array(length);
  return new RowResampler(source, { to, window, kernel: KERNELS[filter] }, allocate, (taps) => fixedPass(taps, rounding));
}

/** The bilinear filter in floating point, as torch resizes a float image. */
export function resampleFloats(source: Pixels<Float32Array>, to: Size): Pixels<Float32Array> {
  const allocate = (length: number): Float32Array => new Float32Array(length);
  const resampler = new RowResampler(source, { to, window: wholeOf(to), kernel: BILINEAR }, allocate, (taps) => ({
    taps,
    finish: (sums, out) => out.set(sums),
  }));
  return withRowsOf(source, resampler);
}

function wholeOf({ width, height }: Size): Window {
  return { left: 0, top: 0, width, height };
}

export function withRowsOf<Data extends Samples>(
  { data, width, height, channels }: Pixels<Data>,
  to: RowResampler<Data>,
): Pixels<Data> {
  const stride = width * channels;
  for (let y = 0; y < height; y++) to.add(y, data.subarray(y * stride, (y + 1) * stride) as Data);
  return to.pixels;
}

/** What the rows are of. */
export interface RowSource extends Size {
  readonly channels: number;
  /** What comes as rows are the image's columns, from the left, each from its top down; the size is the image's. */
  readonly byColumns?: boolean;
}

interface Request {
  readonly to: Size;
  readonly window: Window;
  readonly kernel: Kernel;
}

/**
 * Resamples an image from its rows, so that it is never in memory as a whole: first along each row, then over
 * the rows, as Pillow and torch do. The rows may come from the top or from the bottom.
 */
export class RowResampler<Data extends Samples> {
  /** Complete when all rows have been added. */
  readonly pixels: Pixels<Data>;
  readonly #mixer: LineMixer<Data>;
  readonly #add: (y: number, row: Data) => void;

  constructor(
    { width, height, channels, byColumns = false }: RowSource,
    { to, window, kernel }: Request,
    allocate: (length: number) => Data,
    prepare: (taps: readonly Taps[]) => Pass<Data>,
  ) {
    const columns = prepare(filterTaps(kernel, width, to.width, window.left, window.width));
    const rows = prepare(filterTaps(kernel, height, to.height, window.top, window.height));
    const data = allocate(window.width * window.height * channels);
    this.pixels = { data, width: window.width, height: window.height, channels };
    if (byColumns) {
      // Over the columns first: the horizontal pass is the first one, whichever way the image comes.
      const along = new LineResampler(rows, channels, allocate);
      this.#mixer = new LineMixer(columns, height * channels, allocate, (x, mixed) => this.#putColumn(x, along.resample(mixed)));
      this.#add = (x, column) => this.#mixer.add(x, column);
    } else {
      const along = new LineResampler(columns, channels, allocate);
      const stride = window.width * channels;
      this.#mixer = new LineMixer(rows, stride, allocate, (y, mixed) => data.set(mixed, y * stride));
      this.#add = (y, row) => this.#mixer.add(y, along.resample(row));
    }
  }

  /** @param row the y-th of the image, or of its columns; not kept */
  add(y: number, row: Data): void {
    if (this.#mixer.wants(y)) this.#add(y, row);
  }

  #putColumn(x: number, column: Data): void {
    const { data, width, height, channels } = this.pixels;
    for (let y = 0; y < height; y++)
      for (let channel = 0; channel < channels; channel++)
        data[(y * width + x) * channels + channel] = column[y * channels + channel] as number;
  }
}

/** One pass along a line of pixels. */
class LineResampler<Data extends Samples> {
  readonly #pass: Pass<Data>;
  readonly #channels: number;
  readonly #sums: Float64Array;
  readonly #out: Data;

  constructor(pass: Pass<Data>, channels: number, allocate: (length: number) => Data) {
    this.#pass = pass;
    this.#channels = channels;
    this.#sums = new Float64Array(pass.taps.length * channels);
    this.#out = allocate(this.#sums.length);
  }

  /** @returns the line's samples; the next call overwrites them */
  resample(line: Data): Data {
    const [{ taps, finish }, channels, sums] = [this.#pass, this.#channels, this.#sums];
    for (let x = 0; x < taps.length; x++) {
      const { first, weights } = taps[x] as Taps;
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        let at = first * channels + channel;
        for (let tap = 0; tap < weights.length; tap++, at += channels) sum += (line[at] as number) * (weights[tap] as number);
        sums[x * channels + channel] = sum;
      }
    }
    finish(sums, this.#out);
    return this.#out;
  }
}

/** Of one output line: its sums, and how many lines it still waits for. */
interface OpenLine {
  readonly sums: Float64Array;
  missing: number;
}

/** One pass over lines that come one by one: an output line is given out with the last line that it is made of. */
class LineMixer<Data extends Samples> {
  readonly #pass: Pass<Data>;
  readonly #give: (i: number, line: Data) => void;
  readonly #open = new Map<number, OpenLine>();
  /** Sums of lines that were given out, for lines to come. */
  readonly #spare: Float64Array[] = [];
  /** By input line: the first output line that takes it, and the one behind the last. */
  readonly #takers: readonly { first: number; end: number }[];
  readonly #out: Data;

  /** @param stride values of a line; @param give what it is given is overwritten by the next */
  constructor(pass: Pass<Data>, stride: number, allocate: (length: number) => Data, give: (i: number, line: Data) => void) {
    this.#pass = pass;
    this.#give = give;
    this.#takers = takersOf(pass.taps);
    this.#out = allocate(stride);
  }

  wants(y: number): boolean {
    return this.#takers[y] !== undefined;
  }

  add(y: number, line: Data): void {
    const { first, end } = this.#takers[y] ?? { first: 0, end: 0 };
    for (let i = first; i < end; i++) {
      const taps = this.#pass.taps[i] as Taps;
      const open = this.#open.get(i) ?? this.#begin(i, taps);
      addLine(open.sums, line, taps.weights[y - taps.first] as number);
      open.missing--;
      if (open.missing === 0) this.#finish(i, open);
    }
  }

  #begin(i: number, { weights }: Taps): OpenLine {
    const sums = this.#spare.pop()?.fill(0) ?? new Float64Array(this.#out.length);
    const open = { sums, missing: weights.length };
    this.#open.set(i, open);
    return open;
  }

  #finish(i: number, { sums }: OpenLine): void {
    this.#open.delete(i);
    this.#pass.finish(sums, this.#out);
    this.#spare.push(sums);
    this.#give(i, this.#out);
  }
}

/** Output lines take ranges of input lines that rise with them, so each input line has a range of takers. */
function takersOf(taps: readonly Taps[]): { first: number; end: number }[] {
  const takers: { first: number; end: number }[] = [];
  taps.forEach(({ first, weights }, i) => {
    for (let y = first; y < first + weights.length; y++) takers[y] = { first: takers[y]?.first ?? i, end: i + 1 };
  });
  return takers;
}

function addLine(sums: Float64Array, line: Samples, weight: number): void {
  for (let x = 0; x < sums.length; x++) sums[x] = (sums[x] as number) + (line[x] as number) * weight;
}
