import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DTYPES, elementCount, rowsOf, viewOf, type Dtype, type HostTensor, type TensorRange } from '../../main/contract/tensor.ts';
import { Graph, IMAGES, type BuiltGraph, type Dim, type Value, type GraphOptions } from '../../main/onnx/graph.ts';
import { ELEMENT } from '../../main/onnx/proto.ts';
import { Session } from '../../main/onnx/runtime.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { float32Bytes, readValues, toBfloat16, toFloat32 } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { fedTo } from './fed-weights.ts';
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

/** A whole number below `end`. */
const below = (end: number): number => Math.floor(((random() + 1) / 2) * end);
const halves = (count: number, code: () => number): Uint8Array => new Uint8Array(Uint16Array.from({ length: count }, code).buffer);

/** Random values below 2 of a type, as its bytes; subnormal ones among them. */
function randomBytes(dtype: Dtype, count: number): Uint8Array {
  switch (dtype) {
    case 'F32':
      return float32Bytes(randoms(count));
    case 'F16':
      return halves(count, () => (below(2) << 15) | below(16 << 10));
    case 'BF16':
      return halves(count, () => toBfloat16(random()));
    case 'F8_E4M3':
      return Uint8Array.from({ length: count }, () => (below(2) << 7) | below(8 << 3));
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
  const tensors = Object.entries(SHAPES).map(([name, shape]) => ({
    name,
    dtype,
    shape,
    bytes: randomBytes(dtype, elementCount(shape)),
  }));
  writeSafetensors(path, tensors);
  return Checkpoint.open(path);
}

const weightsOf =
  (checkpoint: Checkpoint) =>
  (name: string): TensorRange =>
    checkpoint.tensor(name, SHAPES[name] ?? []);

/** A tensor of the reference. */
interface Plain {
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
}

async function run(
  build: (g: Graph) => Value,
  inputs: Record<string, HostTensor>,
  options?: Partial<GraphOptions>,
): Promise<HostTensor> {
  const g = new Graph({ fusedAttention: true, ...options });
  g.output('result', build(g));
  const built = g.build();
  const session = await Session.create(built, { device: 'cpu', threads: 1 });
  try {
    return (await session.run({ ...inputs, ...fedTo(built) }))['result'] as HostTensor;
  } finally {
    await session.release();
  }
}

/** Within float rounding of the reference, each value by itself. */
function expectClose(got: HostTensor, wanted: Plain, bar = 2e-6): void {
  expect(got.dims).toEqual(wanted.dims);
  expect(got.data.length).toBe(wanted.data.length);
  for (let i = 0; i < wanted.data.length; i++) {
    const [a, b] = [Number(got.data[i]), wanted.data[i] as number];
    if (!(Math.abs(a - b) <= bar * Math.max(1, Math.abs(b)))) expect.fail(`value ${i}: ${a} for ${b}`);
  }
}

// ---- the reference: plain loops over f64 --------------------------------------------------------------

const at = (data: ArrayLike<number>, i: number): number => data[i] as number;
const slice = (x: Plain, first: number, count: number): number[] => Array.from(x.data).slice(first, first + count);
const map = (x: Plain, f: (value: number, i: number) => number): Plain => ({ data: Array.from(x.data, f), dims: x.dims });

/** Rows of the last dimension, each through a function. */
function rows(x: Plain, f: (row: number[]) => readonly number[]): Plain {
  const width = x.dims.at(-1) ?? 1;
  const out = Array.from({ length: x.data.length / width }, (_, i) => f(Array.from(x.data).slice(i * width, (i + 1) * width)));
  return { data: out.flat(), dims: [...x.dims.slice(0, -1), out[0]?.length ?? 0] };
}

function linear(x: Plain, weight: ArrayLike<number>, out: number, bias?: ArrayLike<number>): Plain {
  return rows(x, (row) =>
    Array.from({ length: out }, (_, o) =>
      row.reduce((sum, value, i) => sum + value * at(weight, o * row.length + i), bias ? at(bias, o) : 0),
    ),
  );
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function layerNorm(x: Plain, weight: ArrayLike<number>, bias: ArrayLike<number>, epsilon: number): Plain {
  return rows(x, (row) => {
    const centre = mean(row);
    const deviation = Math.sqrt(mean(row.map((value) => (value - centre) ** 2)) + epsilon);
    return row.map((value, i) => ((value - centre) / deviation) * at(weight, i) + at(bias, i));
  });
}

function rmsNorm(x: Plain, weight: ArrayLike<number>, epsilon: number): Plain {
  return rows(x, (row) => row.map((value, i) => (value / Math.sqrt(mean(row.map((v) => v * v)) + epsilon)) * at(weight, i)));
}

function attention(q: Plain, k: Plain, v: Plain, heads: number): Plain {
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

function rope(x: Plain, angles: readonly number[], heads: number): Plain {
  const [, tokens = 0, width = 0] = x.dims;
  const [head, half] = [width / heads, width / heads / 2];
  return map(x, (value, at0) => {
    const token = Math.floor(at0 / width) % tokens;
    const i = at0 % head;
    const angle = angles[token * half + (i % half)] ?? 0;
    return i < half
      ? value * Math.cos(angle) - at(x.data, at0 + half) * Math.sin(angle)
      : value * Math.cos(angle) + at(x.data, at0 - half) * Math.sin(angle);
  });
}

function patchEmbed(x: Plain, weight: ArrayLike<number>, bias: ArrayLike<number>, out: number, patch: number): Plain {
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

const tensor = (...dims: number[]): { data: Float32Array; dims: number[] } => ({ data: randoms(elementCount(dims)), dims });

describe.each(DTYPES)('layers over %s weights', (dtype) => {
  const weights = weightsOf(writeWeights(join(folder, `${dtype}.safetensors`), dtype));
  const values = (name: string): Float32Array => readValues(weights(name));
  const x2 = tensor(3, 4);
  const x3 = tensor(2, 3, 4);
  const pixels = tensor(2, 3, 4, 6);
  const in2 = (g: Graph): Value => g.input('x', [IMAGES, 4]);
  const in3 = (g: Graph): Value => g.input('x', [IMAGES, 3, 4]);
  const packed = weights('packed');

  test.each<[string, (g: Graph) => Value, HostTensor, () => Plain]>([
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
    ['a view of a weight, beside the weight itself', (g) => {
      const x = in2(g);
      const pairs = g.linear(g.reshape(x, [{ perImage: 2 }, 2]), viewOf(weights('square'), [8, 2]));
      return g.concat([g.linear(x, weights('square')), g.reshape(pairs, [IMAGES, 16])], 1);
    }, x2, () => {
      const pairs = linear({ data: x2.data, dims: [6, 2] }, values('square'), 8);
      const whole = linear(x2, values('square'), 4);
      return { data: [0, 1, 2].flatMap((n) => [...slice(whole, 4 * n, 4), ...slice(pairs, 16 * n, 16)]), dims: [3, 20] };
    }],
  ])('%s', async (_name, build, x, wanted) => {
    expectClose(await run(build, { x }), wanted(), 5e-6);
    // Weights in pieces of a row, and of two rows and a last one.
    for (const pieceValues of [1, 8]) expectClose(await run(build, { x }, { pieceValues }), wanted(), 5e-6);
    if (dtype !== 'F8_E4M3') expectClose(await run(build, { x }, { pieceValues: 8, weightsAs: 'fed' }), wanted(), 5e-6);
  });
}); // prettier-ignore

describe.each(DTYPES.filter((dtype) => dtype !== 'F8_E4M3'))('a stage in shares, weights in %s', (dtype) => {
  const weights = weightsOf(writeWeights(join(folder, `shares-${dtype}.safetensors`), dtype));
  const x = tensor(2, 3, 4);
  const stage = (g: Graph): Value => {
    const value = g.input('x', [IMAGES, 3, 4]);
    const wide = g.gelu(g.spread(value, weights('packed'), weights('packedBias')));
    return g.residual(value, g.collect(wide, viewOf(weights('packed'), [4, 18]), weights('shift')));
  };

  test.each([
    [2, 1 << 20],
    [2, 20],
    [3, 1],
    [6, 9],
  ])('%i of them add up to the whole, %i values at a time', async (of, pieceValues) => {
    const whole = await run(stage, { x });
    const parts: HostTensor[] = [];
    for (let index = 0; index < of; index++) parts.push(await run(stage, { x }, { weightsAs: 'fed', pieceValues, share: { index, of } }));
    const sum = Array.from({ length: whole.data.length }, (_, i) => parts.reduce((total, { data }) => total + Number(data[i]), 0));
    expectClose({ data: Float32Array.from(sum), dims: whole.dims }, { data: [...whole.data].map(Number), dims: whole.dims }, 5e-6);
  });

  test('what can’t be shared evenly is refused when the graph is built', () => {
    expect(() => stage(new Graph({ fusedAttention: true, weightsAs: 'fed', share: { index: 0, of: 4 } }))).toThrow('18 can’t be shared by 4');
  });
}); // prettier-ignore

test('graphs made alike are the same bytes, whatever their weights and results are called', () => {
  const weights = weightsOf(writeWeights(join(folder, 'alike.safetensors'), 'BF16'));
  const built = (name: string, rows: number): BuiltGraph => {
    const g = new Graph({ fusedAttention: true, weightsAs: 'fed' });
    g.output(name, g.linear(g.input('x', [IMAGES, 4]), rowsOf(weights('packed'), rows, 6)));
    return g.build();
  };
  const [one, other] = [built('one', 0), built('other', 12)];
  expect(one.model).toEqual(other.model);
  expect([one.outputs, other.outputs]).toEqual([['one'], ['other']]);
  expect(one.weights[0]?.range.offset).not.toBe(other.weights[0]?.range.offset);
  expect(one.weightsFolder).toBeUndefined();
});

describe('layers without weights', () => {
  const x = tensor(2, 3, 8);
  const other = tensor(2, 5, 8);
  const third = tensor(2, 5, 8);
  const gate = tensor(2, 3, 8);
  const wide: HostTensor & Plain = { data: Float32Array.from({ length: 48 }, (_, i) => (i - 24) / 8), dims: [2, 3, 8] };
  const angles = Array.from({ length: 3 * 2 }, (_, i) => i * 0.7 - 1);
  const table = (g: Graph, f: (angle: number) => number): Value => g.constant(Float32Array.from(angles, f), [3, 2]);
  const dims = (t: number): Dim[] => [IMAGES, t, 8];
  const X = (g: Graph): Value => g.input('x', dims(3));
  const OTHER = (g: Graph): Value => g.input('other', dims(5));

  test.each<[string, (g: Graph) => Value, Record<string, HostTensor>, () => Plain]>([
    ['attention to itself', (g) => { const q = X(g); return g.attention(q, q, q, 2); }, { x }, () => attention(x, x, x, 2)],
    ['attention to others, in one head', (g) => { const k = OTHER(g); return g.attention(X(g), k, g.input('third', dims(5)), 1); }, { x, other, third }, () => attention(x, other, third, 1)],
    ['attention to others, in four heads', (g) => { const k = OTHER(g); return g.attention(X(g), k, g.input('third', dims(5)), 4); }, { x, other, third }, () => attention(x, other, third, 4)],
    ['rope', (g) => g.rope(X(g), table(g, Math.cos), table(g, Math.sin), 2), { x }, () => rope(x, angles, 2)],
    ['gelu', (g) => g.gelu(X(g)), { x: wide }, () => map(wide, gelu)],
    ['geluExact', (g) => g.geluExact(X(g)), { x: wide }, () => map(wide, geluExact)],
    ['silu', (g) => g.silu(X(g)), { x: wide }, () => map(wide, silu)],
    ['swiglu', (g) => g.swiglu(X(g), g.input('gate', dims(3))), { x: wide, gate }, () => map(wide, (value, i) => silu(value) * at(gate.data, i))],
    ['add', (g) => g.add(X(g), g.input('gate', dims(3))), { x, gate }, () => map(x, (value, i) => value + at(gate.data, i))],
    ['add of one row to all', (g) => g.add(X(g), g.constant(x.data.slice(0, 8), [1, 1, 8])), { x }, () => map(x, (value, i) => value + at(x.data, i % 8))],
    ['mul', (g) => g.mul(X(g), g.input('gate', dims(3))), { x, gate }, () => map(x, (value, i) => value * at(gate.data, i))],
    ['rows, one of them twice', (g) => g.rows(X(g), [2, 0, 2]), { x }, () => ({ data: [...slice(x, 16, 8), ...slice(x, 0, 8), ...slice(x, 16, 8), ...slice(x, 40, 8), ...slice(x, 24, 8), ...slice(x, 40, 8)], dims: [2, 3, 8] })],
    ['slice', (g) => g.slice(X(g), 1, 1, 3), { x }, () => ({ data: [...slice(x, 8, 16), ...slice(x, 32, 16)], dims: [2, 2, 8] })],
    ['a slice that is the whole', (g) => g.gelu(g.slice(X(g), 2, 0, 8)), { x }, () => map(x, gelu)],
    ['row', (g) => g.row(X(g), 1), { x }, () => ({ data: [...slice(x, 8, 8), ...slice(x, 32, 8)], dims: [2, 8] })],
    ['concat of rows', (g) => g.concat([OTHER(g), X(g)], 1), { x, other }, () => ({ data: [...slice(other, 0, 40), ...slice(x, 0, 24), ...slice(other, 40, 40), ...slice(x, 24, 24)], dims: [2, 8, 8] })],
    ['concat of channels', (g) => { const a = X(g); return g.concat([a, a], 2); }, { x }, () => rows(x, (row) => [...row, ...row])],
    ['concat along the last axis, counted from the end', (g) => { const a = X(g); return g.concat([a, a], -1); }, { x }, () => rows(x, (row) => [...row, ...row])],
    ['transpose', (g) => g.transpose(X(g), [0, 2, 1]), { x }, () => ({ data: [0, 1].flatMap((n) => Array.from({ length: 24 }, (_, i) => at(x.data, n * 24 + (i % 3) * 8 + Math.floor(i / 3)))), dims: [2, 8, 3] })],
    ['transpose that moves the images', (g) => g.transpose(X(g), [1, 0, 2]), { x }, () => ({ data: [0, 1, 2].flatMap((t) => [...slice(x, 8 * t, 8), ...slice(x, 24 + 8 * t, 8)]), dims: [3, 2, 8] })],
    ['reshape', (g) => g.reshape(X(g), [{ perImage: 6 }, 4]), { x }, () => ({ data: x.data, dims: [12, 4] })],
    ['reshape to the same', (g) => g.reshape(X(g), dims(3)), { x }, () => x],
  ])('%s', async (_name, build, inputs, wanted) => {
    expectClose(await run(build, inputs), wanted());
  });

  test('an input may be an output, and a result more than one', async () => {
    const g = new Graph();
    const input = g.input('x', dims(3));
    const doubled = g.add(input, input);
    for (const [name, value] of [['same', input], ['twice', doubled], ['also', doubled], ['more', g.add(doubled, input)]] as const) g.output(name, value);
    const session = await Session.create(g.build(), { device: 'cpu', threads: 1 });
    const results = await session.run({ x });
    await session.release();
    const times = (factor: number): HostTensor => ({ data: x.data.map((value) => Math.fround(factor * value)), dims: x.dims });
    expect(Object.keys(results)).toEqual(['same', 'twice', 'also', 'more']);
    for (const [name, factor] of [['same', 1], ['twice', 2], ['also', 2], ['more', 3]] as const) expectClose(results[name] as HostTensor, times(factor) as Plain);
  });

  test('whole numbers keep their type', async () => {
    const integers: HostTensor = { data: BigInt64Array.of(2n ** 53n + 1n, -1n), dims: [2] };
    expect(await run((g) => g.input('x', [{ perImage: 2 }], ELEMENT.INT64), { x: integers })).toEqual(integers);
  });
}); // prettier-ignore

describe('store rounds to the nearest, halves to even', () => {
  const stored = async (dtype: 'F32' | 'F16' | 'BF16', values: Float32Array): Promise<HostTensor> =>
    run((g) => g.store(g.input('x', [{ perImage: values.length }]), dtype), { x: { data: values, dims: [values.length] } });

  test.each<['F16' | 'BF16', number, number]>([
    ['F16', 1, 0x3c00],
    ['F16', -0, 0x8000],
    ['F16', 1 + 2 ** -11, 0x3c00], // a half, to even: down
    ['F16', 1 + 3 * 2 ** -11, 0x3c02], // a half, to even: up
    ['F16', 1 + 2 ** -11 + 2 ** -23, 0x3c01],
    ['F16', 65519, 0x7bff],
    ['F16', 65520, 0x7c00],
    ['F16', -1e30, 0xfc00],
    ['F16', 2 ** -24, 0x0001],
    ['F16', 2 ** -25, 0x0000],
    ['F16', 3 * 2 ** -25, 0x0002],
    ['F16', 1023.75 * 2 ** -24, 0x0400],
    ['F16', -Infinity, 0xfc00],
    ['BF16', 1, 0x3f80],
    ['BF16', -0, 0x8000],
    ['BF16', 1 + 2 ** -8, 0x3f80],
    ['BF16', 1 + 3 * 2 ** -8, 0x3f82],
    ['BF16', -(1 + 2 ** -8 + 2 ** -23), 0xbf81],
    ['BF16', 3.4028234663852886e38, 0x7f80],
    ['BF16', 2 ** -133, 0x0001],
    ['BF16', 2 ** -134, 0x0000],
    ['BF16', Infinity, 0x7f80],
  ])('%s: %d', async (dtype, value, bits) => {
    expect((await stored(dtype, Float32Array.of(value))).data).toEqual(Uint16Array.of(bits));
  });

  test.each(['F16', 'BF16'] as const)('%s: NaN stays one', async (dtype) => {
    const { data } = await stored(dtype, Float32Array.of(NaN));
    expect(toFloat32(new Uint8Array((data as Uint16Array).slice().buffer), dtype)[0]).toBeNaN();
  });

  test.each(['F16', 'BF16'] as const)('%s: no neighbour is nearer', async (dtype) => {
    const values = Float32Array.from({ length: 4000 }, () => random() * 2 ** (below(40) - 26));
    const codes = (await stored(dtype, values)).data as Uint16Array;
    const [got, lower, upper] = [0, -1, 1].map((step) => toFloat32(new Uint8Array(codes.map((code) => code + step).buffer), dtype));
    const distance = (to: Float32Array | undefined, i: number): number => Math.abs((to?.[i] ?? 0) - at(values, i));
    expect(values.findIndex((_, i) => distance(got, i) > distance(lower, i) || distance(got, i) > distance(upper, i))).toBe(-1);
  });

  test('F32 passes unchanged', async () => {
    const values = randoms(5);
    expect((await stored('F32', values)).data).toEqual(values);
  });
});

describe('a misfit is a RangeError when the graph is built', () => {
  const weights = weightsOf(writeWeights(join(folder, 'misfits.safetensors'), 'F32'));
  const square = weights('square');
  const X = (g: Graph): Value => g.input('x', [IMAGES, 3, 4]);
  const flat = (g: Graph): Value => g.input('flat', [IMAGES, 4]);
  const table = (g: Graph, ...dims: number[]): Value => g.constant(new Float32Array(elementCount(dims)), dims);
  const pixels = (g: Graph, ...dims: number[]): Value => g.input('pixels', [IMAGES, ...dims]);

  test.each<[string, (g: Graph) => unknown]>([
    ['linear of another width', (g) => g.linear(g.input('x', [IMAGES, 5]), square)],
    ['linear over a vector', (g) => g.linear(X(g), weights('gain'))],
    ['linear over a tensor of four dimensions', (g) => g.linear(X(g), weights('patch'))],
    ['linear with a short bias', (g) => g.linear(X(g), weights('wide'), weights('gain'))],
    ['linear with a bias that would be broadcast', (g) => g.linear(X(g), weights('wide'), rowsOf(weights('gain'), 0, 1))],
    ['layerNorm with another weight', (g) => g.layerNorm(X(g), weights('other'), weights('shift'), 1e-6)],
    ['layerNorm with another bias', (g) => g.layerNorm(X(g), weights('gain'), weights('other'), 1e-6)],
    ['rmsNorm with another weight', (g) => g.rmsNorm(X(g), weights('other'), 1e-6)],
    ['attention in heads that do not divide it', (g) => g.attention(X(g), X(g), X(g), 3)],
    ['attention without tokens', (g) => g.attention(flat(g), flat(g), flat(g), 1)],
    ['attention to keys of another width', (g) => g.attention(X(g), pixels(g, 3, 8), pixels(g, 3, 8), 1)],
    ['attention to more keys than values', (g) => g.attention(X(g), pixels(g, 5, 4), X(g), 1)],
    ['rope without tokens', (g) => g.rope(flat(g), table(g, 3, 2), table(g, 3, 2), 1)],
    ['rope in heads that do not divide it', (g) => g.rope(X(g), table(g, 3, 2), table(g, 3, 2), 3)],
    ['rope with angles for other tokens', (g) => g.rope(X(g), table(g, 4, 2), table(g, 4, 2), 1)],
    ['rope with angles for whole heads', (g) => g.rope(X(g), table(g, 3, 2), table(g, 3, 4), 1)],
    ['patchEmbed of other channels', (g) => g.patchEmbed(pixels(g, 4, 4, 4), weights('patch'), weights('patchBias'))],
    [
      'patchEmbed of a side that patches do not divide',
      (g) => g.patchEmbed(pixels(g, 3, 4, 5), weights('patch'), weights('patchBias')),
    ],
    ['patchEmbed of a flat image', (g) => g.patchEmbed(pixels(g, 3, 4), weights('patch'), weights('patchBias'))],
    ['patchEmbed with oblong patches', (g) => g.patchEmbed(pixels(g, 3, 4, 4), weights('oblong'), weights('patchBias'))],
    ['patchEmbed with another bias', (g) => g.patchEmbed(pixels(g, 3, 4, 4), weights('patch'), weights('gain'))],
    ['add of other sizes', (g) => g.add(X(g), table(g, 3))],
    ['add of a fixed number of images', (g) => g.add(X(g), table(g, 2, 3, 4))],
    ['mul of other sizes', (g) => g.mul(X(g), table(g, 2, 4))],
    ['swiglu of other sizes', (g) => g.swiglu(X(g), pixels(g, 3, 5))],
    ['reshape to another count', (g) => g.reshape(X(g), [IMAGES, 11])],
    ['reshape that loses the images', (g) => g.reshape(X(g), [3, 4])],
    ['reshape that makes images', (g) => g.reshape(table(g, 3, 4), [IMAGES, 3, 4])],
    ['transpose of too few axes', (g) => g.transpose(X(g), [0, 1])],
    ['transpose of an axis twice', (g) => g.transpose(X(g), [0, 1, 1])],
    ['transpose of an axis that is not there', (g) => g.transpose(X(g), [0, 1, 3])],
    ['concat of nothing', (g) => g.concat([], 1)],
    ['concat of other sizes', (g) => g.concat([X(g), pixels(g, 3, 5)], 1)],
    ['concat of other dimensions', (g) => g.concat([X(g), flat(g)], 1)],
    ['concat along an axis that is not there', (g) => g.concat([X(g), X(g)], 3)],
    ['concat along the images', (g) => g.concat([X(g), X(g)], 0)],
    ['rows past the end', (g) => g.rows(X(g), [0, 3])],
    ['a slice past the end', (g) => g.slice(X(g), 1, 1, 4)],
    ['an empty slice', (g) => g.slice(X(g), 1, 1, 1)],
    ['a slice of the images', (g) => g.slice(X(g), 0, 0, 1)],
    ['row of what has no rows', (g) => g.row(flat(g), 0)],
    ['a row past the end', (g) => g.row(X(g), 3)],
    ['a row before the start', (g) => g.row(X(g), -1)],
    ['repeat of two', (g) => g.repeat(table(g, 2, 4), X(g))],
  ])('%s', (_name, build) => {
    expect(() => build(new Graph())).toThrow(RangeError);
  });
});

describe('weights in more than one file', () => {
  const x = tensor(3, 4);
  const sum =
    (...ranges: TensorRange[]) =>
    (g: Graph): Value => {
      const input = g.input('x', [IMAGES, 4]);
      return ranges.map((range) => g.linear(input, range)).reduce((a, b) => g.add(a, b));
    };
  const twice = (...ranges: TensorRange[]): Plain => {
    const parts = ranges.map((range) => linear(x, readValues(range), 4));
    return map(x, (_, i) => parts.reduce((total, part) => total + at(part.data, i), 0));
  };
  const squareIn = (name: string, dtype: Dtype): TensorRange => {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    return weightsOf(writeWeights(join(folder, name), dtype))('square');
  };

  // Each file has a tensor of the same name and other values.
  test.each([
    ['in the same folder', 'one/a.safetensors', 'one/b.safetensors'],
    ['one in a sub-folder', 'two/a.safetensors', 'two/deep/down/b.safetensors'],
    ['in folders one of whose names starts like the other', 'three/a/a.safetensors', 'three/ab/b.safetensors'],
    ['the same, the longer name first', 'three/cd/a.safetensors', 'three/c/b.safetensors'],
    ['in a folder with a space and an umlaut', 'four/ä b/a.safetensors', 'four/b.safetensors'],
  ])('%s', async (_name, first, second) => {
    const ranges = [squareIn(first, 'F32'), squareIn(second, 'F16')];
    expectClose(await run(sum(...ranges), { x }), twice(...ranges));
  });

  test('a graph without weights has no folder', () => {
    const g = new Graph();
    g.output('y', g.gelu(g.input('x', [IMAGES, 4])));
    expect(g.build()).toMatchObject({ weightsFolder: undefined, outputs: ['y'] });
  });

  test('a file that went away is an I2lError', async () => {
    const gone = { ...squareIn('five/a.safetensors', 'F32'), file: join(folder, 'five/gone.safetensors') };
    await expect(run(sum(gone), { x })).rejects.toMatchObject({ name: 'I2lError', code: 'SESSION_FAILED' });
  });
});

describe('cost', () => {
  const weights = weightsOf(writeWeights(join(folder, 'cost.safetensors'), 'F16'));
  const full = weightsOf(writeWeights(join(folder, 'cost-f32.safetensors'), 'F32'));
  const costOf = (build: (g: Graph) => Value): ReturnType<Graph['cost']> => {
    const g = new Graph();
    g.output('y', build(g));
    return g.cost();
  };
  const bytes = (ranges: readonly { readonly length: number }[]): number => ranges.reduce((total, { length }) => total + length, 0);

  test('a linear: its weights, two operations a weight and row, the bytes of its input', () => {
    const cost = costOf((g) => g.linear(g.input('x', [IMAGES, 3, 4]), weights('wide'), weights('wideBias')));
    expect(cost.weights.map(({ name }) => name)).toEqual(['wide', 'wideBias']);
    expect(bytes(cost.weights)).toBe(2 * (24 + 6));
    expect(cost.flops).toEqual({ fixed: 0, perImage: 2 * 24 * 3 });
    expect(cost.inputBytes).toBe(4 * 12);
  });

  test('a linear of what does not follow the images', () => {
    const cost = costOf((g) => g.linear(g.constant(new Float32Array(20), [5, 4]), weights('wide')));
    expect(cost.flops).toEqual({ fixed: 2 * 24 * 5, perImage: 0 });
  });

  test('attention: two products of queries, keys and width', () => {
    const cost = costOf((g) => {
      const k = g.input('k', [IMAGES, 5, 8]);
      return g.attention(g.input('q', [IMAGES, 3, 8]), k, k, 2);
    });
    expect(cost.flops).toEqual({ fixed: 0, perImage: 2 * 2 * 3 * 5 * 8 });
  });

  test('patchEmbed: two operations a weight and patch', () => {
    const cost = costOf((g) => g.patchEmbed(g.input('x', [IMAGES, 3, 4, 6]), weights('patch'), weights('patchBias')));
    expect(cost.flops).toEqual({ fixed: 0, perImage: 2 * 60 * 6 });
  });

  test('a weight that is used twice, or seen in two shapes, counts once', () => {
    const cost = costOf((g) => {
      const x = g.linear(g.linear(g.input('x', [IMAGES, 4]), weights('square')), weights('square'));
      return g.linear(g.reshape(x, [{ perImage: 2 }, 2]), viewOf(weights('square'), [8, 2]));
    });
    expect(bytes(cost.weights)).toBe(2 * 16);
  });

  test('rows of a weight count as themselves', () => {
    const cost = costOf((g) => g.linear(g.input('x', [IMAGES, 4]), rowsOf(weights('packed'), 6, 6)));
    expect(bytes(cost.weights)).toBe(2 * 24);
  });

  test('live bytes: what a node reads and makes, and what is still to be read; inputs are not its own', () => {
    const { live } = costOf((g) => {
      const x = g.input('x', [IMAGES, 4]);
      const a = g.gelu(x); // a
      const b = g.gelu(a); // a and b
      const c = g.add(x, b); // b and c
      return g.gelu(c); // c and the result
    });
    expect(live).toEqual([1, 2, 2, 2].map((tensors) => ({ fixed: 0, perImage: tensors * 16 })));
  });

  test('live bytes: another shape of the same bytes takes none, except of a result', () => {
    const of = (leave: boolean): object => {
      const { live } = costOf((g) => {
        const x = g.reshape(g.input('x', [IMAGES, 4]), [IMAGES, 2, 2]); // nothing
        const a = g.gelu(x); // a
        const flat = g.reshape(a, [IMAGES, 4]); // a still
        return leave ? flat : g.add(flat, g.gelu(flat)); // a and its gelu, then the sum
      });
      return live;
    };
    const tensors = (...counts: number[]): object => counts.map((count) => ({ fixed: 0, perImage: count * 16 }));
    expect(of(false)).toEqual(tensors(0, 1, 1, 2, 3));
    expect(of(true)).toEqual(tensors(0, 1, 2));
  });

  test('live bytes: a cast copy of a narrow weight, and none of an f32 one', () => {
    const scaled =
      (range: TensorRange) =>
      (g: Graph): Value =>
        g.gelu(g.mul(g.input('x', [IMAGES, 4]), g.weight(range)));
    expect(costOf(scaled(weights('gain'))).live).toEqual([
      { fixed: 16, perImage: 0 },
      { fixed: 16, perImage: 16 },
      { fixed: 0, perImage: 32 },
    ]);
    expect(costOf(scaled(full('gain'))).live).toEqual([
      { fixed: 0, perImage: 16 },
      { fixed: 0, perImage: 32 },
    ]);
  });

  test('live bytes: a cast is made just before its use, one at a time', () => {
    const { live } = costOf((g) => {
      const x = g.input('x', [IMAGES, 4]);
      const [square, other] = [weights('square'), rowsOf(weights('packed'), 0, 4)];
      return g.add(g.linear(x, square), g.linear(x, other));
    });
    expect(Math.max(...live.map(({ fixed }) => fixed))).toBe(4 * 16);
  });
});
