import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { HostTensor, TensorRange } from '../../main/contract/tensor.ts';
import type { Stage } from '../../main/offload/stage.ts';
import { canShareBytes, tileCount, tilesOf, turnSize, type EightBitWeights } from '../../main/onnx/eight-bit.ts';
import { exactByteType, type ByteType } from '../../main/onnx/exact-bytes.ts';
import { Graph, IMAGES, type GraphOptions, type Share, type Value } from '../../main/onnx/graph.ts';
import { Session } from '../../main/onnx/runtime.ts';
import { EightBitCopy } from '../../main/pipelines/eight-bit-copy.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { float32Bytes, readValues } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { cosine } from '../parity/goldens.ts';
import { makeCopy } from '../parity/make-copy.ts';
import { fedTo } from './fed-weights.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const random = mulberry32(7);
const randoms = (count: number): Float32Array => Float32Array.from({ length: count }, () => 2 * random() - 1);

const [ROWS, IN, WIDE] = [5, 64, 256];
const path = join(folder, 'weights.safetensors');
writeSafetensors(path, [
  { name: 'up', dtype: 'F32', shape: [WIDE, IN], bytes: float32Bytes(randoms(WIDE * IN)) },
  { name: 'bias', dtype: 'F32', shape: [WIDE], bytes: float32Bytes(randoms(WIDE)) },
  { name: 'down', dtype: 'F32', shape: [IN, WIDE], bytes: float32Bytes(randoms(WIDE * IN)) },
]);
const checkpoint = Checkpoint.open(path);
const [up, bias, down] = [
  checkpoint.tensor('up', [WIDE, IN]),
  checkpoint.tensor('bias', [WIDE]),
  checkpoint.tensor('down', [IN, WIDE]),
];

/** Two layers, the wide one between them spread over shares. */
function twoLayers(g: Graph, x: Value): Value {
  return g.collect(g.gelu(g.spread(x, up, bias)), down);
}

const stage: Stage = {
  id: 'two layers',
  takes: [{ name: 'x', value: (g) => g.input('x', [IMAGES, ROWS, IN]) }],
  build: (g, take) => ({ emit: { y: twoLayers(g, take('x')) } }),
};

async function copyAs(byteType: ByteType): Promise<EightBitWeights> {
  const copy = new EightBitCopy(
    folder,
    { id: byteType, name: 'siglip2', contentId: byteType, stages: [stage], path, stamp: '1' },
    byteType,
  );
  await makeCopy(copy);
  return copy.weights;
}

async function run(
  build: (g: Graph, x: Value) => Value,
  x: HostTensor,
  options: Partial<GraphOptions> = {},
): Promise<Float32Array> {
  const g = new Graph({ fusedAttention: true, weightsAs: 'fed', ...options });
  g.output('y', build(g, g.input('x', [IMAGES, ROWS, IN])));
  const built = g.build();
  const session = await Session.create(built, { device: 'cpu', threads: 1 });
  try {
    return (await session.run({ x, ...fedTo(built) }))['y']?.data as Float32Array;
  } finally {
    await session.release();
  }
}

/** The cosine of all values, which is what the bars are about. */
function closeness(a: Float32Array, b: Float32Array): number {
  return cosine([...a], [...b]);
}

const x: HostTensor = { data: randoms(2 * ROWS * IN), dims: [2, ROWS, IN] };
const shares = (of: number): Share[] => Array.from({ length: of }, (_, index) => ({ index, of }));

const exact = await exactByteType();

describe.each<ByteType>(['I8', 'U8'])('products of bytes, weights in %s', (byteType) => {
  // Where the processor does not sum signed ones exactly, no job has them.
  const isUsable = byteType === 'U8' || exact === 'I8';

  test.runIf(isUsable)('are close to products of the weights', async () => {
    const eightBit = await copyAs(byteType);
    const [wanted, fast] = [await run(twoLayers, x), await run(twoLayers, x, { eightBit })];
    expect(closeness(fast, wanted)).toBeGreaterThan(0.9998);
    expect(closeness(fast, wanted)).toBeLessThan(0.9999999);
  });

  test.runIf(isUsable).each([2, 4, 8])('%i shares add up to the whole', async (of) => {
    const eightBit = await copyAs(byteType);
    const whole = await run(twoLayers, x, { eightBit });
    const parts: Float32Array[] = [];
    for (const share of shares(of)) parts.push(await run(twoLayers, x, { eightBit, share }));
    const sum = whole.map((_, i) => parts.reduce((total, part) => total + (part[i] ?? 0), 0));
    // Each share finds steps of its own for what it collects.
    expect(closeness(sum, whole)).toBeGreaterThan(0.9999);
  });
});

describe('rows in bytes', () => {
  const spread = (g: Graph, value: Value): Value => g.linear(value, up, bias);

  test('a value that stands out does not drown the others of its row', async () => {
    const data = (x.data as Float32Array).map((value, i) => (i % IN === 3 ? 60 * value : value));
    const eightBit = await copyAs(exact);
    const one = { ...x, data };
    const others = (y: Float32Array): Float32Array => y.map((value, i) => value - outstanding(data, i));
    const [wanted, fast] = [others(await run(spread, one)), others(await run(spread, one, { eightBit }))];
    // Of 64 values 8 are turned together, which spreads it by the root of that; as it lies it would leave 0.991.
    expect(closeness(fast, wanted)).toBeGreaterThan(0.9965);
  });

  /** What column 3 adds to a value of the product. */
  function outstanding(data: Float32Array, at: number): number {
    const row = Math.floor(at / WIDE);
    return (data[row * IN + 3] ?? 0) * (readValues(up)[(at % WIDE) * IN + 3] ?? 0);
  }

  test.each([Number.NaN, Infinity, -Infinity])('%d makes its row of the product no number, and no other', async (bad) => {
    const data = (x.data as Float32Array).map((value, i) => (i === 2 * IN + 9 ? bad : value));
    const y = await run(spread, { ...x, data }, { eightBit: await copyAs(exact) });
    const rowIsFinite = (row: number): boolean => y.slice(row * WIDE, (row + 1) * WIDE).every(Number.isFinite);
    expect(y.slice(2 * WIDE, 3 * WIDE).some(Number.isFinite)).toBe(false);
    expect(Array.from({ length: 2 * ROWS }, (_, row) => row).filter((row) => !rowIsFinite(row))).toEqual([2]);
  });

  test('a row of zeros is zeros', async () => {
    const y = await run(
      (g, value) => g.linear(value, up),
      { ...x, data: new Float32Array(x.data.length) },
      { eightBit: await copyAs(exact) },
    );
    expect(y.every((value) => value === 0)).toBe(true);
  });

  test('layers that take the same activations share their bytes', async () => {
    const eightBit = await copyAs(exact);
    const g = new Graph({ fusedAttention: true, weightsAs: 'fed', eightBit });
    const value = g.input('x', [IMAGES, ROWS, IN]);
    g.output('y', g.add(g.linear(value, up), g.linear(value, up, bias)));
    const { model } = g.build();
    const names = Buffer.from(model)
      .toString('latin1')
      .match(/QuantizeLinear_\d+/g);
    expect(new Set(names).size).toBe(1);
  });
});

describe('tiles', () => {
  // Of the published encoders, and odd ones.
  test.each([
    [4096, 4096, 8, 128],
    [8192, 4096, 8, 128],
    [4096, 8192, 8, 128],
    [1536, 1536, 8, 64],
    [6144, 1536, 8, 64],
    [18944, 3584, 16, 64],
    [3584, 18944, 16, 64],
    [512, 3584, 8, 64],
    [3420, 1280, 4, 32],
    [7, 33, 1, 1],
  ])('of %i outputs and %i inputs', (out, inner, tiles, turn) => {
    expect([tileCount(out, inner), turnSize(inner)]).toEqual([tiles, turn]);
    const range = { name: 'w', file: path, offset: 0 };
    const values = { ...range, shape: [tiles, inner, out / tiles], length: out * inner };
    const steps: TensorRange = { ...range, dtype: 'F32', shape: [out], length: 4 * out };
    const copy = { values, steps, isSigned: true };
    for (const of of [2, 4, 8].filter((count) => out % count === 0)) {
      const rows = shares(of).flatMap(({ index }) => tilesOf(copy, { rows: [(index * out) / of, out / of], columns: [0, inner] }));
      expect(rows.map((tile) => tile.values.offset)).toEqual(Array.from({ length: tiles }, (_, i) => (i * out * inner) / tiles));
    }
    for (const of of [2, 4, 8].filter((count) => inner % count === 0)) expect((inner / of) % turn).toBe(0);
  });

  test('shares that tiles can’t be cut for are known before', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 16].filter(canShareBytes)).toEqual([1, 2, 4, 8]);
  });
});
