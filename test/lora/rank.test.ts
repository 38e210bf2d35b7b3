import fc from 'fast-check';
import { join } from 'node:path';
import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { afterAll, describe, expect, test } from 'vitest';
import type { RankChoice } from '../../main/contract/job.ts';
import { openLora } from '../../main/lora/read-lora.ts';
import { answerFor, chooseRanks, type Spectrum } from '../../main/lora/spectrum.ts';
import { readSpectrum } from '../../main/pipelines/spectrum-file.ts';
import { readValues } from '../../main/weights/values.ts';
import {
  denseOf,
  minus,
  multiply,
  norm,
  randomDense,
  run,
  withFolder,
  writeLora,
  type Dense,
  type TestModule,
} from './lora-files.ts';

const { folder, clear } = withFolder('rank');
afterAll(clear);

let files = 0;
const newFile = (): string => join(folder, `${files++}.safetensors`);

function singularValues({ rows, columns, values }: Dense): number[] {
  return new SingularValueDecomposition(Matrix.from1DArray(rows, columns, values), { autoTranspose: true }).diagonal;
}

async function reset(file: string, choice: RankChoice, split: 'b-heavy' | 'balanced' = 'b-heavy'): Promise<string> {
  const output = newFile();
  await run({ kind: 'reset-rank', file, choice, split, output, dtype: 'f32', keyForm: 'plain' });
  return output;
}

function module(path: string, rank: number, inner: number, out: number, seed: number, size = 1): TestModule {
  return { path, a: randomDense(rank, inner, seed, size), b: randomDense(out, rank, seed + 1, size) };
}

const fixed = (rank: number): RankChoice => ({ kind: 'fixed', rank });

describe('a rank reset against a dense SVD', () => {
  test('is the best approximation, for random shapes and scales', async () => {
    const shapes = fc.record({
      rank: fc.integer({ min: 1, max: 9 }),
      inner: fc.integer({ min: 1, max: 24 }),
      out: fc.integer({ min: 1, max: 24 }),
      kept: fc.integer({ min: 1, max: 9 }),
      power: fc.integer({ min: -12, max: 12 }),
      seed: fc.integer({ min: 0, max: 1e6 }),
      split: fc.constantFrom('b-heavy' as const, 'balanced' as const),
    });
    await fc.assert(
      fc.asyncProperty(shapes, async ({ rank, inner, out, kept, power, seed, split }) => {
        const made = module('m', rank, inner, out, seed, 10 ** (power / 2));
        const output = await reset(writeLora(newFile(), [made]), fixed(kept), split);
        const wanted = multiply(made.b, made.a);
        const got = denseOf(output).get('m')!;
        const values = singularValues(wanted);
        const best = Math.sqrt(values.slice(kept).reduce((sum, value) => sum + value ** 2, 0));
        expect(norm(minus(wanted, got))).toBeLessThanOrEqual(best + 2e-6 * norm(wanted));
        expect(openLora(output).modules[0]!.rank).toBe(kept);
      }),
      { numRuns: 60, seed: 4 },
    );
  }, 60_000);

  test('a rank-deficient LoRA keeps all of itself at its true rank', async () => {
    const made = module('m', 3, 20, 16, 5);
    const twice: TestModule = { path: 'm', a: stack(made.a, made.a), b: beside(made.b, made.b) };
    const output = await reset(writeLora(newFile(), [twice]), fixed(3));
    const wanted = multiply(twice.b, twice.a);
    expect(norm(minus(wanted, denseOf(output).get('m')!)) / norm(wanted)).toBeLessThan(1e-6);
  });

  test('a zero LoRA stays zero at any rank', async () => {
    const zero: TestModule = { path: 'm', a: { rows: 2, columns: 6, values: new Float64Array(12) }, b: randomDense(5, 2, 1) };
    for (const rank of [1, 2, 4]) {
      const output = await reset(writeLora(newFile(), [zero]), fixed(rank));
      expect(norm(denseOf(output).get('m')!)).toBe(0);
      expect(openLora(output).modules[0]!.rank).toBe(rank);
    }
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('%s is refused, and no file appears', async (bad) => {
    const made = module('m', 2, 6, 5, 7);
    made.a.values[3] = bad;
    await expect(reset(writeLora(newFile(), [made]), fixed(1))).rejects.toMatchObject({ code: 'NOT_FINITE' });
  });

  test('alpha is folded in', async () => {
    const made = module('m', 4, 10, 8, 9);
    const file = writeLora(newFile(), [made], undefined, { 'm.alpha': 2 });
    const dense = multiply(made.b, made.a);
    const wanted = { ...dense, values: dense.values.map((value) => value / 2) };
    const output = await reset(file, fixed(4));
    expect(openLora(output).modules[0]!.scale).toBe(1);
    expect(norm(minus(wanted, denseOf(output).get('m')!)) / norm(wanted)).toBeLessThan(1e-6);
  });
});

function stack(a: Dense, b: Dense): Dense {
  return { rows: a.rows + b.rows, columns: a.columns, values: Float64Array.from([...a.values, ...b.values]) };
}

function beside(a: Dense, b: Dense): Dense {
  const values = Array.from({ length: a.rows }, (_, i) => [
    ...a.values.slice(i * a.columns, (i + 1) * a.columns),
    ...b.values.slice(i * b.columns, (i + 1) * b.columns),
  ]);
  return { rows: a.rows, columns: a.columns + b.columns, values: Float64Array.from(values.flat()) };
}

describe('the form of the result', () => {
  const made = module('m', 5, 30, 20, 11);
  const file = writeLora(newFile(), [made]);
  const factors = (path: string): { a: Dense; b: Dense } => {
    const [own] = openLora(path).modules;
    return {
      a: { rows: own!.rank, columns: own!.in, values: Float64Array.from(readValues(own!.a)) },
      b: { rows: own!.out, columns: own!.rank, values: Float64Array.from(readValues(own!.b)) },
    };
  };
  const rowNorm = ({ columns, values }: Dense, i: number): number => Math.hypot(...values.slice(i * columns, (i + 1) * columns));
  const columnNorm = ({ rows, columns, values }: Dense, j: number): number =>
    Math.hypot(...Array.from({ length: rows }, (_, i) => values[i * columns + j]!));

  test('b-heavy: A has orthonormal rows, B columns of the singular values, falling', async () => {
    const { a, b } = factors(await reset(file, fixed(5)));
    const wanted = singularValues(multiply(made.b, made.a));
    for (let i = 0; i < 5; i++) {
      expect(rowNorm(a, i)).toBeCloseTo(1, 5);
      expect(columnNorm(b, i)).toBeCloseTo(wanted[i]!, 4);
    }
  });

  test('balanced: both sides carry the roots', async () => {
    const { a, b } = factors(await reset(file, fixed(5), 'balanced'));
    for (let i = 0; i < 5; i++) expect(rowNorm(a, i)).toBeCloseTo(columnNorm(b, i), 5);
  });

  test('the largest entry of each row of A is positive, and equal inputs give equal bytes', async () => {
    const { a } = factors(await reset(file, fixed(5)));
    for (let i = 0; i < 5; i++) {
      const row = [...a.values.slice(i * a.columns, (i + 1) * a.columns)];
      expect(Math.max(...row)).toBe(Math.max(...row.map(Math.abs)));
    }
    const negated = {
      ...made,
      a: { ...made.a, values: made.a.values.map((x) => -x) },
      b: { ...made.b, values: made.b.values.map((x) => -x) },
    };
    const other = factors(await reset(writeLora(newFile(), [negated]), fixed(5)));
    expect(norm(minus(a, other.a))).toBeLessThan(1e-5);
  });

  test('a smaller rank of a sorted LoRA is its first rows and columns, bit for bit', async () => {
    const whole = await reset(file, fixed(5));
    const [cut, sorted] = [factors(await reset(whole, fixed(2))), factors(whole)];
    expect(cut.a.values).toEqual(sorted.a.values.slice(0, 2 * 30));
    expect(Array.from({ length: 20 }, (_, i) => cut.b.values[i * 2 + 1])).toEqual(
      Array.from({ length: 20 }, (_, i) => sorted.b.values[i * 5 + 1]),
    );
  });

  test('a merge of sorted LoRAs is not sorted: its rank is reset, not cut', async () => {
    const other = module('m', 5, 30, 20, 77, 3);
    const inputs = [await reset(file, fixed(5)), await reset(writeLora(newFile(), [other]), fixed(5))];
    const merged = newFile();
    await run({
      kind: 'merge',
      inputs: inputs.map((path) => ({ file: path, strength: 1 })),
      output: merged,
      dtype: 'f32',
      keyForm: 'plain',
    });
    const whole = denseOf(merged).get('m')!;
    const values = singularValues(whole);
    const best = Math.hypot(...values.slice(3));
    const got = denseOf(await reset(merged, fixed(3))).get('m')!;
    expect(norm(minus(whole, got))).toBeLessThan(best + 1e-5 * norm(whole));
  });

  test('a larger rank changes nothing and can still learn', async () => {
    const { a, b } = factors(await reset(file, fixed(8)));
    const wanted = multiply(made.b, made.a);
    expect(norm(minus(wanted, multiply(b, a))) / norm(wanted)).toBeLessThan(1e-6);
    for (let i = 5; i < 8; i++) {
      expect(columnNorm(b, i)).toBe(0);
      expect(rowNorm(a, i)).toBeGreaterThan(0);
      const row = [...a.values.slice(i * 30, (i + 1) * 30)];
      expect(Math.max(...row.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(30));
    }
  });
});

describe('the spectrum', () => {
  const modules = [module('layers.0.x', 6, 30, 20, 21), module('layers.1.y', 3, 12, 40, 31, 0.1)];
  const file = writeLora(newFile(), modules);
  const spectrumOf = async (): Promise<Spectrum> => {
    const output = newFile();
    await run({ kind: 'spectrum', file, output });
    return readSpectrum(output);
  };

  test('holds the singular values of every dW', async () => {
    const spectrum = await spectrumOf();
    modules.forEach(({ a, b }, i) => {
      const wanted = singularValues(multiply(b, a));
      spectrum[i]!.singularValues.forEach((value, j) => expect(value / wanted[j]!).toBeCloseTo(1, 5));
      expect(spectrum[i]).toMatchObject({ rank: a.rows, in: a.columns, out: b.rows });
    });
  });

  test.each([0.5, 0.9, 0.99, 1])('the rank for a share of %s keeps it, and one less does not', async (share) => {
    const spectrum = await spectrumOf();
    const [rank] = chooseRanks(spectrum, { kind: 'energy', share, perModule: false });
    const keptAt = (k: number): number => answerFor(spectrum, chooseRanks(spectrum, fixed(k)), 2).kept;
    expect(keptAt(rank!)).toBeGreaterThanOrEqual(share - 1e-12);
    if (rank! > 1) expect(keptAt(rank! - 1)).toBeLessThan(share);
  });

  test('what it answers is what a reset loses', async () => {
    const spectrum = await spectrumOf();
    const before = denseOf(file);
    const after = denseOf(await reset(file, fixed(2)));
    const answer = answerFor(spectrum, [2, 2], 4);
    const lost = [...before].reduce((sum, [path, dense]) => sum + norm(minus(dense, after.get(path)!)) ** 2, 0);
    const all = [...before.values()].reduce((sum, dense) => sum + norm(dense) ** 2, 0);
    expect(answer.kept).toBeCloseTo(Math.sqrt(1 - lost / all), 5);
    expect(answer.bytes).toBe(2 * (30 + 20 + 12 + 40) * 4);
  });

  test('per module each has its own rank, under a cap', async () => {
    const spectrum = await spectrumOf();
    const own = chooseRanks(spectrum, { kind: 'energy', share: 1, perModule: true });
    expect(own).toEqual([6, 3]);
    expect(chooseRanks(spectrum, { kind: 'energy', share: 1, perModule: true, cap: 4 })).toEqual([4, 3]);
    const [first] = spectrum;
    const ratio = first!.singularValues[0]! / first!.singularValues[2]!;
    expect(chooseRanks(spectrum, { kind: 'ratio', ratio: ratio * 1.0001, perModule: true })[0]).toBe(3);
  });
});
