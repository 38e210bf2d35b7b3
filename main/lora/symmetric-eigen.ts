/**
 * Eigenvalues and eigenvectors of a small symmetric matrix in double precision: Householder reduction to
 * tridiagonal form, then implicit QL shifts, the way of EISPACK's tred2 and tql2 (Martin, Reinsch and
 * Wilkinson 1968; Bowdler et al. 1968). All inner loops run along rows in memory: hundreds of LoRA modules
 * are decomposed while a user waits.
 */
export interface Eigen {
  /** Falling. */
  readonly values: Float64Array;
  /** [n, n] row-major; row i belongs to value i, and rows are orthonormal. */
  readonly vectors: Float64Array;
}

/** @param matrix [n, n] row-major, finite; its lower triangle is read */
export function symmetricEigen(matrix: Float64Array, n: number): Eigen {
  // To entries of at most 1, so that no square within can overflow.
  const size = matrix.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const { diagonal, beside, reflections } = tridiagonal(size > 0 ? matrix.map((value) => value / size) : matrix, n);
  const vectors = accumulate(reflections, n);
  diagonalise(diagonal, beside, vectors, n);
  return sorted(diagonal, vectors, n, size);
}

/** Row i of `rows` holds the reflection 1 - factor v v^T over its first i entries; T = H1 .. Hn-1 A Hn-1 .. H1. */
interface Reflections {
  readonly rows: Float64Array;
  readonly factors: Float64Array;
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** beside[i] lies between i and i + 1; the last is 0. */
  readonly beside: Float64Array;
  readonly reflections: Reflections;
}

/** From the last row up, so that what is left to reduce is always the leading block. */
function tridiagonal(matrix: Float64Array, n: number): Tridiagonal {
  const rows = Float64Array.from(matrix);
  const factors = new Float64Array(n);
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  const product = new Float64Array(n);
  for (let i = n - 1; i > 0; i--) {
    const at = i * n;
    diagonal[i] = rows[at + i] as number;
    beside[i - 1] = reflect(rows, at, i, factors);
    const factor = factors[i] as number;
    if (factor === 0) continue;
    multiplyLeading(rows, n, i, at, product);
    const inner = factor * dot(product, 0, rows, at, i);
    for (let k = 0; k < i; k++) product[k] = factor * ((product[k] as number) - 0.5 * inner * (rows[at + k] as number));
    for (let r = 0; r < i; r++) subtractTwo(rows, r * n, r, at, product);
  }
  diagonal[0] = rows[0] as number;
  return { diagonal, beside, reflections: { rows, factors } };
}

/** Turns the first `count` entries of a row into a reflection onto the last of them. @returns what it is then */
function reflect(rows: Float64Array, at: number, count: number, factors: Float64Array): number {
  const last = at + count - 1;
  let largest = 0;
  for (let k = at; k < last; k++) largest = Math.max(largest, Math.abs(rows[k] as number));
  const pivot = rows[last] as number;
  if (largest === 0) return pivot; // Nothing to reflect: the factor stays 0.
  const size = Math.max(largest, Math.abs(pivot));
  let squares = 0;
  for (let k = at; k <= last; k++) {
    const value = (rows[k] as number) / size;
    rows[k] = value;
    squares += value * value;
  }
  const norm = pivot > 0 ? -Math.sqrt(squares) : Math.sqrt(squares);
  rows[last] = (rows[last] as number) - norm;
  factors[count] = 1 / (squares - norm * (pivot / size));
  return norm * size;
}

/** product = the leading block [count, count], of which the lower triangle is kept, times the vector at `at`. */
function multiplyLeading(rows: Float64Array, n: number, count: number, at: number, product: Float64Array): void {
  product.fill(0, 0, count);
  for (let r = 0; r < count; r++) {
    const own = r * n;
    const value = rows[at + r] as number;
    let sum = 0;
    for (let k = 0; k < r; k++) {
      const entry = rows[own + k] as number;
      sum += entry * (rows[at + k] as number);
      product[k] = (product[k] as number) + entry * value;
    }
    product[r] = sum + (rows[own + r] as number) * value;
  }
}

/** row -= v_r w^T + w_r v^T, up to the diagonal. */
function subtractTwo(rows: Float64Array, own: number, r: number, at: number, w: Float64Array): void {
  const v = rows[at + r] as number;
  const u = w[r] as number;
  for (let k = 0; k <= r; k++) {
    rows[own + k] = (rows[own + k] as number) - v * (w[k] as number) - u * (rows[at + k] as number);
  }
}

/** H1 H2 .. Hn-1, row by row: the block that is not yet the identity grows by one at each step. */
function accumulate({ rows, factors }: Reflections, n: number): Float64Array {
  const result = new Float64Array(n * n);
  for (let i = 0; i < n; i++) result[i * n + i] = 1;
  for (let i = 1; i < n; i++) {
    const factor = factors[i] as number;
    if (factor === 0) continue;
    for (let r = 0; r < i; r++) {
      const step = factor * dot(result, r * n, rows, i * n, i);
      for (let k = 0; k < i; k++) result[r * n + k] = (result[r * n + k] as number) - step * (rows[i * n + k] as number);
    }
  }
  return result;
}

function dot(a: Float64Array, atA: number, b: Float64Array, atB: number, count: number): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += (a[atA + k] as number) * (b[atB + k] as number);
  return sum;
}

/** More shifts than any matrix of finite numbers takes. */
const MOST_SHIFTS = 60;

/** Implicit QL with Wilkinson's shift; the rotations go to the rows of `vectors`. */
function diagonalise(diagonal: Float64Array, beside: Float64Array, vectors: Float64Array, n: number): void {
  for (let first = 0; first < n; first++) {
    for (let shifts = 0; ; shifts++) {
      const end = blockEnd(diagonal, beside, first, n);
      if (end === first) break;
      if (shifts === MOST_SHIFTS) throw new RangeError('the eigenvalues did not converge');
      sweep(diagonal, beside, vectors, n, first, end);
    }
  }
}

/** The next index from which on the matrix falls apart. */
function blockEnd(diagonal: Float64Array, beside: Float64Array, first: number, n: number): number {
  let end = first;
  while (end < n - 1) {
    const size = Math.abs(diagonal[end] as number) + Math.abs(diagonal[end + 1] as number);
    if (Math.abs(beside[end] as number) <= Number.EPSILON * 0.5 * size) break;
    end++;
  }
  return end;
}

function sweep(d: Float64Array, e: Float64Array, vectors: Float64Array, n: number, first: number, end: number): void {
  const start = d[first] as number;
  const half = ((d[first + 1] as number) - start) / (2 * (e[first] as number));
  const root = Math.hypot(half, 1);
  let g = (d[end] as number) - start + (e[first] as number) / (half + (half < 0 ? -root : root));
  let sine = 1;
  let cosine = 1;
  let carried = 0;
  for (let i = end - 1; i >= first; i--) {
    const f = sine * (e[i] as number);
    const b = cosine * (e[i] as number);
    const r = Math.sqrt(f * f + g * g); // Math.hypot takes ten times as long; the matrix is scaled.
    e[i + 1] = r;
    if (r === 0) {
      d[i + 1] = (d[i + 1] as number) - carried;
      e[end] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    const shifted = (d[i + 1] as number) - carried;
    const t = ((d[i] as number) - shifted) * sine + 2 * cosine * b;
    carried = sine * t;
    d[i + 1] = shifted + carried;
    g = cosine * t - b;
    rotate(vectors, i * n, (i + 1) * n, n, sine, cosine);
  }
  d[first] = (d[first] as number) - carried;
  e[first] = g;
  e[end] = 0;
}

function rotate(vectors: Float64Array, one: number, other: number, n: number, sine: number, cosine: number): void {
  for (let k = 0; k < n; k++) {
    const x = vectors[one + k] as number;
    const y = vectors[other + k] as number;
    vectors[other + k] = sine * x + cosine * y;
    vectors[one + k] = cosine * x - sine * y;
  }
}

function sorted(diagonal: Float64Array, vectors: Float64Array, n: number, size: number): Eigen {
  const order = Array.from(diagonal.keys()).sort((a, b) => (diagonal[b] as number) - (diagonal[a] as number));
  const rows = new Float64Array(n * n);
  order.forEach((from, to) => rows.set(vectors.subarray(from * n, (from + 1) * n), to * n));
  return { values: Float64Array.from(order, (i) => size * (diagonal[i] as number)), vectors: rows };
}
