import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  arrangedPlace,
  hasRelaxedMadd,
  makeRound,
  makeScatter,
  MOST_IMAGES,
  productFunction,
  type Product,
} from '../../main/linear/products.ts';
import { encodeModule } from '../../main/linear/wasm-code.ts';
import { WasmMemory } from '../../main/linear/wasm-memory.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { toBfloat16 } from '../../main/weights/values.ts';

interface Sizes {
  readonly rows: number;
  readonly columns: number;
  readonly images: number;
}

interface Made extends Sizes {
  readonly weight: Uint16Array;
  readonly x: Float32Array;
}

/** Instructions that every engine has, and those of this one. */
const engines = [false, ...(hasRelaxedMadd() ? [true] : [])];

function random({ rows, columns, images }: Sizes, seed: number): Made {
  const next = mulberry32(seed);
  const value = (): number => 2 * next() - 1;
  const weight = Uint16Array.from({ length: rows * columns }, () => toBfloat16(value()));
  return { rows, columns, images, weight, x: Float32Array.from({ length: images * columns }, value) };
}

/** Results image by image. */
function multiply({ rows, columns, images, weight, x }: Made, isRelaxed: boolean): Float32Array {
  const memory = new WasmMemory();
  const [w, xAt, y] = [memory.take(weight.byteLength), memory.take(x.byteLength), memory.take(4 * rows * images)];
  new Uint16Array(memory.buffer, w, weight.length).set(weight);
  const arranged = new Float32Array(memory.buffer, xAt, x.length);
  x.forEach((value, i) => (arranged[i - (i % columns) + arrangedPlace(i % columns, columns)] = value));
  const module = new WebAssembly.Module(encodeModule([productFunction(columns, images, isRelaxed)]));
  const product = new WebAssembly.Instance(module, { host: { memory: memory.host } }).exports['product'] as Product;
  product(w, xAt, y, rows, 4 * rows);
  return new Float32Array(memory.buffer, y, rows * images).slice();
}

function valueOf(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0] as number;
}

/** In f64, and the sum of the terms' sizes: what rounding errors are measured by. */
function exactly({ rows, columns, images, weight, x }: Made): { values: number[]; sizes: number[] } {
  const terms = (image: number, row: number): number[] =>
    Array.from({ length: columns }, (_, k) => valueOf(weight[row * columns + k] as number) * (x[image * columns + k] as number));
  const places = Array.from({ length: images * rows }, (_, at) => terms(Math.floor(at / rows), at % rows));
  return {
    values: places.map((all) => all.reduce((sum, term) => sum + term, 0)),
    sizes: places.map((all) => all.reduce((sum, term) => sum + Math.abs(term), 0)),
  };
}

const sizes: fc.Arbitrary<Sizes> = fc.record({
  rows: fc.integer({ min: 0, max: 21 }),
  columns: fc.integer({ min: 1, max: 83 }),
  images: fc.integer({ min: 1, max: MOST_IMAGES }),
});

describe.each(engines)('products, with a fused instruction: %s', (isRelaxed) => {
  test('are right for any sizes, within what f32 rounds', () => {
    const property = fc.property(sizes, fc.nat(), (asked, seed) => {
      const made = random(asked, seed);
      const { values, sizes: limits } = exactly(made);
      const got = multiply(made, isRelaxed);
      values.forEach((value, i) => expect(Math.abs((got[i] as number) - value)).toBeLessThanOrEqual(1e-6 * (limits[i] as number)));
    });
    fc.assert(property, { seed: 3, numRuns: 200 });
  });

  test('of an image are the same bits, whatever is computed beside it', () => {
    const made = random({ rows: 13, columns: 77, images: MOST_IMAGES }, 8);
    const together = multiply(made, isRelaxed);
    for (let image = 0; image < made.images; image++) {
      const x = made.x.subarray(image * 77, (image + 1) * 77);
      expect(multiply({ ...made, images: 1, x }, isRelaxed)).toEqual(together.subarray(image * 13, (image + 1) * 13));
    }
  });

  test('carry infinities and what is no number', () => {
    const made = random({ rows: 6, columns: 19, images: 2 }, 4);
    made.weight.set([toBfloat16(Infinity)], 19);
    made.weight.set([toBfloat16(Number.NaN)], 3 * 19 + 18);
    made.x[19 + 4] = -Infinity;
    const got = multiply(made, isRelaxed);
    const { values } = exactly(made);
    expect([...got].map((value) => (Number.isFinite(value) ? 'finite' : value))).toEqual(values.map((value) => (Number.isFinite(value) ? 'finite' : value)));
    expect(values.filter(Number.isNaN).length).toBeGreaterThan(1);
  }); // prettier-ignore
});

describe('rounding', () => {
  const round = (values: readonly number[], factor: number): Uint16Array => {
    const memory = new WasmMemory();
    const count = Math.ceil(values.length / 8) * 8;
    const at = memory.take(4 * count);
    new Float32Array(memory.buffer, at, count).set(values);
    makeRound(memory.host)(at, factor, at, count);
    return new Uint16Array(memory.buffer, at, values.length).slice();
  };

  test('is to the nearest bf16, where the values are', () => {
    const bits = fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 40 });
    const property = fc.property(bits, (words) => {
      const values = [...new Float32Array(Uint32Array.from(words).buffer)];
      expect([...round(values, 1)]).toEqual(values.map(toBfloat16));
    });
    fc.assert(property, { seed: 5, numRuns: 500 });
  });

  test('of ties is to the even one; infinities stay, and large values become them', () => {
    const values = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -Infinity, 3.4e38, Number.NaN, -0];
    expect([...round(values, 1)]).toEqual([0x3f80, 0x3f82, 0xff80, 0x7f80, 0x7fc0, 0x8000]);
  });

  test('is behind the product with the factor, in f32', () => {
    const values = [0.1, -3.7, 1e-30, 12345.678, 5, 6, 7, 8, 9].map(Math.fround);
    const factor = Math.fround(0.37);
    expect([...round(values, factor)]).toEqual(values.map((value) => toBfloat16(Math.fround(value * factor))));
  });
});

test('blocks of any size are copied to where they belong, and nothing beside them', () => {
  for (const values of [1, 2, 3, 4, 7, 12]) {
    const memory = new WasmMemory();
    const [blocks, stride] = [5, values + 3];
    const [from, to] = [memory.take(2 * blocks * values), memory.take(2 * blocks * stride)];
    const source = Uint16Array.from({ length: blocks * values }, (_, i) => 1000 + i);
    new Uint16Array(memory.buffer, from, source.length).set(source);
    makeScatter(values, memory.host)(from, to, blocks, 2 * stride);
    const wanted = Array.from({ length: blocks * stride }, (_, at) => {
      const [block, within] = [Math.floor(at / stride), at % stride];
      return within < values ? 1000 + block * values + within : 0;
    });
    expect([...new Uint16Array(memory.buffer, to, wanted.length)]).toEqual(wanted);
  }
});
