import { pivotedCholesky, type PivotedCholesky } from './cholesky.ts';
import { symmetricEigen } from './symmetric-eigen.ts';

/**
 * The exact decomposition of a LoRA without its dense product. With a thin QR of A^T = Q R^T, dW = B A is
 * (B R) Q^T, and the eigenvalues of R^T (B^T B) R are the squares of dW's singular values; its best
 * approximation of rank k keeps the k largest (Eckart and Young 1936). The factors enter by their Gram
 * matrices A A^T and B^T B (rank x rank, double precision), so the long products stay with the runtime:
 * R is Cholesky's factor of A A^T.
 *
 * A Gram matrix holds squares, so a direction is known to about 1e-8 of the largest. Rows of A are brought
 * to length 1 first, their lengths given to B's columns: what is lost is then 1e-8 of the sum of
 * |row of A| |column of B|, less than the rounding of the factors when they are f32.
 */
export interface Decomposition {
  /** Singular values of dW, falling. As many as dW's rank, at most the LoRA's. */
  readonly singularValues: Float64Array;
  /** [components, rank] row-major: right @ A has orthonormal rows, V^T of dW. */
  readonly right: Float64Array;
  /** [rank, components] row-major: B @ left has the columns U S of dW. */
  readonly left: Float64Array;
}

/** What a row of A of length 1 may lack of being a sum of the others, squared: the rounding of long dot products. */
const DEPENDENT = 1e-14;

/**
 * @param gramA A A^T and @param gramB B^T B, both [rank, rank] row-major and finite
 * @param scale what dW = scale * B A is multiplied by
 */
export function decompose(gramA: Float64Array, gramB: Float64Array, rank: number, scale: number): Decomposition {
  const lengths = Float64Array.from({ length: rank }, (_, i) => Math.sqrt(gramA[i * rank + i] as number));
  const inverse = lengths.map((length) => (length > 0 ? 1 / length : 0));
  const r = pivotedCholesky(scaledBothSides(gramA, inverse, rank), rank, DEPENDENT);
  const { values, vectors } = symmetricEigen(innerProducts(r, scaledBothSides(gramB, lengths, rank), rank), r.rank);
  const largest = values[0] ?? 0;
  const count = scale === 0 ? 0 : values.filter((value) => value > largest * Number.EPSILON * rank).length;
  return {
    singularValues: values.slice(0, count).map((value) => Math.sqrt(value) * Math.abs(scale)),
    right: rightOf(r, vectors, count, inverse),
    left: leftOf(r, vectors, count, lengths, scale),
  };
}

/** diag(sizes) matrix diag(sizes) */
function scaledBothSides(matrix: Float64Array, sizes: Float64Array, n: number): Float64Array {
  const scaled = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const own = sizes[i] as number;
    for (let j = 0; j < n; j++) scaled[i * n + j] = (matrix[i * n + j] as number) * own * (sizes[j] as number);
  }
  return scaled;
}

/** lower^T gram lower, [m, m] for a factor of rank m */
function innerProducts({ lower, rank: m }: PivotedCholesky, gram: Float64Array, n: number): Float64Array {
  const half = new Float64Array(n * m);
  for (let i = 0; i < n; i++) for (let k = 0; k < n; k++) addRow(half, i * m, lower, k * m, m, gram[i * n + k] as number);
  const product = new Float64Array(m * m);
  for (let k = 0; k < n; k++) for (let i = 0; i < m; i++) addRow(product, i * m, half, k * m, m, lower[k * m + i] as number);
  return product;
}

/** to[..] += factor * from[..] */
function addRow(to: Float64Array, atTo: number, from: Float64Array, atFrom: number, count: number, factor: number): void {
  if (factor === 0) return;
  for (let k = 0; k < count; k++) to[atTo + k] = (to[atTo + k] as number) + factor * (from[atFrom + k] as number);
}

/** x with x lower = vector, for each vector: the rows of V^T as sums of A's pivot rows, [count, n] */
function rightOf(r: PivotedCholesky, vectors: Float64Array, count: number, inverse: Float64Array): Float64Array {
  const n = inverse.length;
  const { rank: m, order, lower } = r;
  const right = new Float64Array(count * n);
  const rest = new Float64Array(m);
  for (let i = 0; i < count; i++) {
    rest.set(vectors.subarray(i * m, (i + 1) * m));
    for (let j = m - 1; j >= 0; j--) {
      const row = order[j] as number;
      const x = (rest[j] as number) / (lower[row * m + j] as number);
      addRow(rest, 0, lower, row * m, j, -x);
      right[i * n + row] = x * (inverse[row] as number);
    }
  }
  return right;
}

/** scale * diag(lengths) lower V, [n, count]: with it B's columns become dW V. */
function leftOf(r: PivotedCholesky, vectors: Float64Array, count: number, lengths: Float64Array, scale: number): Float64Array {
  const { rank: m, lower } = r;
  const n = lengths.length;
  const left = new Float64Array(n * count);
  for (let i = 0; i < n; i++) {
    const factor = scale * (lengths[i] as number);
    for (let j = 0; j < count; j++) {
      let sum = 0;
      for (let k = 0; k < m; k++) sum += (lower[i * m + k] as number) * (vectors[j * m + k] as number);
      left[i * count + j] = factor * sum;
    }
  }
  return left;
}
