import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DTYPE_BYTES, DTYPES, elementCount, rowsOf, viewOf, type Dtype, type HostTensor, type TensorRange } from '../../main/contract/tensor.ts';
import { Graph, IMAGES, type Dim, type Value } from '../../main/onnx/graph.ts';
import { ELEMENT } from '../../main/onnx/proto.ts';
import { Session } from '../../main/onnx/runtime.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { float32Bytes, readValues, toBfloat16 } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();

/** Small numbers in a fixed order, mulberry32. */
let state = 1;
function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
}
const randoms = (count: number): Float32Array => Float32Array.from({ length: count }, random);

/** Random values of a type, as its bytes: every exponent of the narrow types that stays small. */
function randomBytes(dtype: Dtype, count: number): Uint8Array {
  const code = (exponentBits: number, fractionBits: number, most: number): number => {
    const sign = random() < 0 ? 1 : 0;
    const exponent = Math.floor(((random() + 1) / 2) * (most + 1));
    const fraction = Math.floor(((random() + 1) / 2) * 2 ** fractionBits);
    return (sign << (exponentBits + fractionBits)) | (exponent << fractionBits) | fraction;
  };
  const codes = <T>(make: () => number, from: (length: { length: number }, map: () => number) => T): T => from({ length: count }, make);
  switch (dtype) {
    case 'F32':
      return float32Bytes(randoms(count));
    case 'F16':
      return new Uint8Array(codes(() => code(5, 10, 14), Uint16Array.from.bind(Uint16Array)).buffer);
    case 'BF16':
      return new Uint8Array(codes(() => toBfloat16(random()), Uint16Array.from.bind(Uint16Array)).buffer);
    case 'F8_E4M3':
      return codes(() => code(4, 3, 7), Uint8Array.from.bind(Uint8Array));
  }
}

/** Every weight that a test asks for, by name. */
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  square: [4, 4],
  wide: [6, 4],
  wideBias: [6],
  gain: [4],
  shift: [4],
  other: [5],
  patch: [5, 3, 2, 2],
  patchBias: [5],
  oblong: [5, 3, 2, 4],
  token: [1, 1, 4],
  packed: [18, 4],
  packedBias: [18],
};

function writeWeights(path: string, dtype: Dtype): Checkpoint {
  const tensors = Object.entries(SHAPES).map(([name, shape]) => ({ name, dtype, shape, bytes: randomBytes(dtype, elementCount(shape)) }));
  writeSafetensors(path, tensors);
  return Checkpoint.open(path);
}

const weightsOf = (checkpoint: Checkpoint) => (name: string): TensorRange => checkpoint.tensor(name, SHAPES[name] ?? []);

interface Array2 {
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
}

async function run(build: (g: Graph) => Value, inputs: Record<string, HostTensor>): Promise<HostTensor> {
  const g = new Graph();
  g.output('result', build(g));
  const session = await Session.create(g.build(), { device: 'cpu', threads: 1 });
  try {
    return (await session.run(inputs))['result'] as HostTensor;
  } finally {
    await session.release();
  }
}

/** Within float rounding of the reference, each value by itself. */
function expectClose(got: HostTensor, wanted: Array2, bar = 2e-6): void {
  expect(got.dims).toEqual(wanted.dims);
  expect(got.data.length).toBe(wanted.data.length);
  for (let i = 0; i < wanted.data.length; i++) {
    const [a, b] = [Number(got.data[i]), wanted.data[i] as number];
    expect(Math.abs(a - b), `value ${i}: ${a} for ${b}`).toBeLessThanOrEqual(bar * Math.max(1, Math.abs(b)));
  }
}

// ---- the reference: plain loops over f64 --------------------------------------------------------------

const at = (data: ArrayLike<number>, i: number): number => data[i] as number;
const map = (x: Array2, f: (value: number, i: number) => number): Array2 => ({ data: Array.from(x.data, f), dims: x.dims });

/** Rows of the last dimension, each through a function. */
function rows(x: Array2, f: (row: number[]) => readonly number[]): Array2 {
  const width = x.dims.at(-1) ?? 1;
  const out = Array.from({ length: x.data.length / width }, (_, i) => f(Array.from(x.data).slice(i * width, (i + 1) * width)));
  return { data: out.flat(), dims: [...x.dims.slice(0, -1), out[0]?.length ?? 0] };
}

function linear(x: Array2, weight: ArrayLike<number>, out: number, bias?: ArrayLike<number>): Array2 {
  return rows(x, (row) =>
    Array.from({ length: out }, (_, o) => row.reduce((sum, value, i) => sum + value * at(weight, o * row.length + i), bias ? at(bias, o) : 0)),
  );
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function layerNorm(x: Array2, weight: ArrayLike<number>, bias: ArrayLike<number>, epsilon: number): Array2 {
  return rows(x, (row) => {
    const centre = mean(row);
    const deviation = Math.sqrt(mean(row.map((value) => (value - centre) ** 2)) + epsilon);
    return row.map((value, i) => ((value - centre) / deviation) * at(weight, i) + at(bias, i));
  });
}

function rmsNorm(x: Array2, weight: ArrayLike<number>, epsilon: number): Array2 {
  return rows(x, (row) => row.map((value, i) => (value / Math.sqrt(mean(row.map((v) => v * v)) + epsilon)) * at(weight, i)));
}

function attention(q: Array2, k: Array2, v: Array2, heads: number): Array2 {
  const [images = 0, queries = 0, width = 0] = q.dims;
  const keys = k.dims[1] ?? 0;
  const head = width / heads;
  const data = new Float64Array(q.data.length);
  for (let n = 0; n < images; n++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < queries; t++) {
        const place = (s: number, length: number, i: number): number => (n * length + s) * width + h * head + i;
        const scores = Array.from({ length: keys }, (_, s) => {
          let sum = 0;
          for (let i = 0; i < head; i++) sum += at(q.data, place(t, queries, i)) * at(k.data, place(s, keys, i));
          return Math.exp(sum / Math.sqrt(head));
        });
        const total = scores.reduce((sum, score) => sum + score, 0);
        for (let i = 0; i < head; i++) {
          data[place(t, queries, i)] = scores.reduce((sum, score, s) => sum + (score / total) * at(v.data, place(s, keys, i)), 0);
        }
      }
  return { data, dims: q.dims };
}

function rope(x: Array2, angles: readonly number[], heads: number): Array2 {
  const [, tokens = 0, width = 0] = x.dims;
  const [head, half] = [width / heads, width / heads / 2];
  return map(x, (value, at0) => {
    const token = Math.floor(at0 / width) % tokens;
    const i = at0 % head;
    const angle = angles[token * half + (i % half)] ?? 0;
    return i < half ? value * Math.cos(angle) - at(x.data, at0 + half) * Math.sin(angle) : value * Math.cos(angle) + at(x.data, at0 - half) * Math.sin(angle);
  });
}

function patchEmbed(x: Array2, weight: ArrayLike<number>, bias: ArrayLike<number>, out: number, patch: number): Array2 {
  const [images = 0, channels = 0, height = 0, width = 0] = x.dims;
  const [down, across] = [height / patch, width / patch];
  const data: number[] = [];
  for (let n = 0; n < images; n++)
    for (let r = 0; r < down; r++)
      for (let c = 0; c < across; c++)
        for (let o = 0; o < out; o++) {
          let sum = at(bias, o);
          for (let channel = 0; channel < channels; channel++)
            for (let y = 0; y < patch; y++)
              for (let z = 0; z < patch; z++) {
                const pixel = ((n * channels + channel) * height + r * patch + y) * width + c * patch + z;
                sum += at(x.data, pixel) * at(weight, ((o * channels + channel) * patch + y) * patch + z);
              }
          data.push(sum);
        }
  return { data, dims: [images, down * across, out] };
}

/** Abramowitz and Stegun's series for small |x|: sum of (-1)^n x^(2n+1) / (n! (2n+1)). */
function erf(x: number): number {
  let [sum, term] = [0, x];
  for (let n = 0; n < 60; n++) {
    sum += term / (2 * n + 1);
    term *= -(x * x) / (n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
const gelu = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const geluExact = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));
const silu = (x: number): number => x / (1 + Math.exp(-x));

// ---- the tests ----------------------------------------------------------------------------------------

const tensor = (...dims: number[]): HostTensor & Array2 => ({ data: randoms(elementCount(dims)), dims }) as HostTensor & { data: Float32Array };

describe.each(DTYPES)('layers over %s weights', (dtype) => {
  const weights = weightsOf(writeWeights(join(folder, `${dtype}.safetensors`), dtype));
  const values = (name: string): Float32Array => readValues(weights(name));
  const x2 = tensor(3, 4);
  const x3 = tensor(2, 3, 4);
  const pixels = tensor(2, 3, 4, 6);
  const in2 = (g: Graph): Value => g.input('x', [IMAGES, 4]);
  const in3 = (g: Graph): Value => g.input('x', [IMAGES, 3, 4]);
  const packed = weights('packed');

  test.each<[string, (g: Graph) => Value, HostTensor, () => Array2]>([
    ['linear, [n, d]', (g) => g.linear(in2(g), weights('wide'), weights('wideBias')), x2, () => linear(x2, values('wide'), 6, values('wideBias'))],
    ['linear, [n, t, d]', (g) => g.linear(in3(g), weights('wide'), weights('wideBias')), x3, () => linear(x3, values('wide'), 6, values('wideBias'))],
    ['linear without bias, [n, d]', (g) => g.linear(in2(g), weights('wide')), x2, () => linear(x2, values('wide'), 6)],
    ['linear without bias, [n, t, d]', (g) => g.linear(in3(g), weights('square')), x3, () => linear(x3, values('square'), 4)],
    ['linear over the middle rows of a weight', (g) => g.linear(in3(g), rowsOf(packed, 6, 6), rowsOf(weights('packedBias'), 6, 6)), x3, () => linear(x3, values('packed').slice(24, 48), 6, values('packedBias').slice(6, 12))],
    ['linear over the last rows of a weight', (g) => g.linear(in2(g), rowsOf(packed, 17, 1)), x2, () => linear(x2, values('packed').slice(68), 1)],
    ['the same weight twice', (g) => g.linear(g.linear(in2(g), weights('square')), weights('square')), x2, () => linear(linear(x2, values('square'), 4), values('square'), 4)],
    ['layerNorm', (g) => g.layerNorm(in3(g), weights('gain'), weights('shift'), 1e-2), x3, () => layerNorm(x3, values('gain'), values('shift'), 1e-2)],
    ['layerNorm, [n, d]', (g) => g.layerNorm(in2(g), weights('gain'), weights('shift'), 1e-6), x2, () => layerNorm(x2, values('gain'), values('shift'), 1e-6)],
    ['rmsNorm', (g) => g.rmsNorm(in3(g), weights('gain'), 1e-2), x3, () => rmsNorm(x3, values('gain'), 1e-2)],
    ['a product with a row of weights', (g) => g.mul(in3(g), g.weight(weights('gain'))), x3, () => map(x3, (value, i) => value * at(values('gain'), i % 4))],
    ['patchEmbed', (g) => g.patchEmbed(g.input('x', [IMAGES, 3, 4, 6]), weights('patch'), weights('patchBias')), pixels, () => patchEmbed(pixels, values('patch'), values('patchBias'), 5, 2)],
    ['repeat', (g) => g.repeat(g.weight(weights('token')), in3(g)), x3, () => ({ data: [...values('token'), ...values('token')], dims: [2, 1, 4] })],
    ['a view, beside the weight itself', (g) => g.add(g.linear(in2(g), weights('square')), g.reshape(g.linear(g.reshape(in2Again(g), [{ perImage: 2 }, 2]), viewOf(weights('square'), [8, 2])), [IMAGES, 16]).dims.length === 2 ? g.linear(in2Again(g), weights('square')) : in2Again(g)), x2, () => map(linear(x2, values('square'), 4), (value) => 2 * value)],
  ])('%s', async (_name, build, x, wanted) => {
    expectClose(await run(build, { x }), wanted(), 5e-6);
  });
}); // prettier-ignore
