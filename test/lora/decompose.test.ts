import fc from 'fast-check';
import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { describe, expect, test } from 'vitest';
import { pivotedCholesky } from '../../main/lora/cholesky.ts';
import { decompose } from '../../main/lora/decompose.ts';
import { symmetricEigen } from '../../main/lora/symmetric-eigen.ts';
import { minus, multiply, norm, randomDense, type Dense } from './lora-files.ts';

const transposed = ({ rows, columns, values }: Dense): Dense => ({
  rows: columns,
  columns: rows,
  values: Float64Array.from(values, (_, at) => values[(at % rows) * columns + Math.floor(at / rows)]!),
});
const square = (n: number, values: Float64Array): Dense => ({ rows: n, columns: n, values });
const identity = (n: number): Dense =>
  square(
    n,
    Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0)),
  );
const scaled = (m: Dense, by: number): Dense => ({ ...m, values: m.values.map((value) => value * by) });
const scaledRows = (m: Dense, by: (row: number) => number): Dense => ({
  ...m,
  values: m.values.map((value, at) => value * by(Math.floor(at / m.columns))),
});
const singularValues = ({ rows, columns, values }: Dense): number[] =>
  new SingularValueDecomposition(Matrix.from1DArray(rows, columns, values), { autoTranspose: true }).diagonal;

const matrices = fc.record({
  n: fc.integer({ min: 1, max: 30 }),
  inner: fc.integer({ min: 1, max: 30 }),
  power: fc.integer({ min: -100, max: 100 }),
  seed: fc.integer(),
});

describe('eigenvalues of a symmetric matrix', () => {
  const check = (matrix: Dense): void => {
    const n = matrix.rows;
    const { values, vectors } = symmetricEigen(matrix.values, n);
    const rows = square(n, vectors);
    expect([...values]).toEqual([...values].sort((a, b) => b - a));
    expect(norm(minus(multiply(rows, transposed(rows)), identity(n)))).toBeLessThan(1e-12);
    const whole = multiply(
      transposed(rows),
      scaledRows(rows, (i) => values[i]!),
    );
    expect(norm(minus(whole, matrix))).toBeLessThanOrEqual(1e-13 * n * norm(matrix));
  };

  test('of random ones, semidefinite and not, of any size of values', () => {
    fc.assert(
      fc.property(matrices, fc.boolean(), ({ n, inner, power, seed }, definite) => {
        const x = randomDense(n, inner, seed);
        const y = randomDense(n, n, seed);
        const flipped = transposed(y);
        const sum = { ...y, values: y.values.map((value, at) => value + flipped.values[at]!) };
        check(scaled(definite ? multiply(x, transposed(x)) : sum, 10 ** power));
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  test.each([
    ['zero', square(4, new Float64Array(16))],
    ['the identity', identity(5)],
    ['all ones', square(6, new Float64Array(36).fill(1))],
    ['zeros beside the diagonal', square(3, Float64Array.of(2, 0, 0, 0, -1, 0, 0, 0, 2))],
    ['a split one', square(4, Float64Array.of(1, 2, 0, 0, 2, 1, 0, 0, 0, 0, 3, 4, 0, 0, 4, 3))],
  ])('of %s', (_what, matrix) => check(matrix));
});

describe('Cholesky with pivoting', () => {
  test('gives the matrix back, and its rank', () => {
    fc.assert(
      fc.property(matrices, ({ n, inner, seed }) => {
        const x = randomDense(n, inner, seed);
        const gram = multiply(x, transposed(x));
        const { rank, order, lower } = pivotedCholesky(gram.values, n, 1e-10);
        expect(rank).toBeLessThanOrEqual(Math.min(n, inner));
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
        const factor = { rows: n, columns: rank, values: lower };
        expect(norm(minus(multiply(factor, transposed(factor)), gram))).toBeLessThan(1e-9 * n);
      }),
      { numRuns: 100, seed: 2 },
    );
  });

  test('nothing is left of zero', () => {
    expect(pivotedCholesky(new Float64Array(9), 3, 1e-14)).toMatchObject({ rank: 0, lower: new Float64Array() });
  });
});

describe('a decomposition', () => {
  const shapes = fc.record({
    rank: fc.integer({ min: 1, max: 12 }),
    inner: fc.integer({ min: 1, max: 20 }),
    out: fc.integer({ min: 1, max: 20 }),
    seed: fc.integer(),
    scale: fc.constantFrom(1, 0.25, -3, 1e-20, 1e20),
    /** Rows of A grow by so many powers of ten, and columns of B shrink: dW doesn't notice. */
    spread: fc.integer({ min: 0, max: 30 }),
  });

  test('is the singular value decomposition of dW, whatever the sizes of its parts', () => {
    fc.assert(
      fc.property(shapes, ({ rank, inner, out, seed, scale, spread }) => {
        const size = (i: number): number => 10 ** (spread * (i / rank - 0.5));
        const a = scaledRows(randomDense(rank, inner, seed), size);
        const b = transposed(scaledRows(randomDense(rank, out, seed + 1), (i) => 1 / size(i)));
        const found = decompose(multiply(a, transposed(a)).values, multiply(transposed(b), b).values, rank, scale);
        const dense = scaled(multiply(b, a), scale);
        const bar = 1e-7 * norm(dense);
        const wanted = singularValues(dense);
        const count = found.singularValues.length;
        for (const [i, value] of wanted.entries()) expect(Math.abs((found.singularValues[i] ?? 0) - value)).toBeLessThan(bar);
        const vt = multiply({ rows: count, columns: rank, values: found.right }, a);
        const us = multiply(b, { rows: rank, columns: count, values: found.left });
        expect(norm(minus(multiply(us, vt), dense))).toBeLessThan(bar);
        expect(norm(minus(multiply(vt, transposed(vt)), identity(count)))).toBeLessThan(1e-6);
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  test.each([
    ['A is zero', new Float64Array(4), Float64Array.of(1, 0, 0, 1), 1],
    ['B is zero', Float64Array.of(1, 0, 0, 1), new Float64Array(4), 1],
    ['the scale is zero', Float64Array.of(1, 0, 0, 1), Float64Array.of(1, 0, 0, 1), 0],
  ])('has nothing where %s', (_what, gramA, gramB, scale) => {
    expect(decompose(gramA, gramB, 2, scale).singularValues).toHaveLength(0);
  });
});
