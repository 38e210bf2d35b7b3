import { EigenvalueDecomposition, Matrix, SingularValueDecomposition } from 'ml-matrix';

/**
 * The exact decomposition of a LoRA without its dense product. With A^T = Qa Ra and B = Qb Rb, the
 * singular values of dW = B A are those of the small core Rb Ra^T, and its best approximation of rank k
 * keeps the k largest (Eckart and Young 1936). The factors enter by their Gram matrices A A^T and B^T B
 * (rank x rank, in double precision): their eigenvectors and roots of eigenvalues are the R of a thin QR
 * up to a rotation, and the long products stay with the runtime.
 */
export interface Decomposition {
  /** Singular values of dW, falling. As many as dW's rank, at most the LoRA's. */
  readonly singularValues: Float64Array;
  /** [components, rank] row-major: right @ A has orthonormal rows, V^T of dW. */
  readonly right: Float64Array;
  /** [rank, components] row-major: B @ left has the columns U S of dW. */
  readonly left: Float64Array;
}

/**
 * Directions below this share of the largest are the rounding of the Gram matrix, not of the factors:
 * squares are exact to 2^-53 there, so roots to about 1e-8.
 */
const NEGLIGIBLE = 1e-15;

/**
 * @param gramA A A^T and @param gramB B^T B, both [rank, rank] row-major
 * @param scale what dW = scale * B A is multiplied by
 */
export function decompose(gramA: Float64Array, gramB: Float64Array, rank: number, scale: number): Decomposition {
  const a = rootsOf(gramA, rank);
  const b = rootsOf(gramB, rank);
  if (a.roots.length === 0 || b.roots.length === 0 || scale === 0) return nothing();
  // core = diag(rootsB) Vb^T Va diag(rootsA)
  const core = b.vectors.transpose().mmul(a.vectors);
  for (let i = 0; i < core.rows; i++) {
    for (let j = 0; j < core.columns; j++) core.set(i, j, core.get(i, j) * at(b.roots, i) * at(a.roots, j) * scale);
  }
  const svd = new SingularValueDecomposition(core, { autoTranspose: true });
  const values = svd.diagonal;
  const count = values.filter((value) => value > at(values, 0) * Number.EPSILON * rank).length;
  const kept = Float64Array.from(values.slice(0, count));
  return {
    singularValues: kept,
    right: rowMajor(pick(svd.rightSingularVectors, count).transpose().mmul(divided(a).transpose())),
    left: rowMajor(divided(b).mmul(scaledColumns(pick(svd.leftSingularVectors, count), kept))),
  };
}

interface Roots {
  /** [rank, n]: eigenvectors of the n that count. */
  readonly vectors: Matrix;
  readonly roots: readonly number[];
}

function rootsOf(gram: Float64Array, rank: number): Roots {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(toMatrix(gram, rank), { assumeSymmetric: true });
  const largest = Math.max(0, ...realEigenvalues);
  const indices = realEigenvalues.flatMap((value, i) => (value > largest * NEGLIGIBLE ? [i] : []));
  if (indices.length === 0) return { vectors: new Matrix(rank, 0), roots: [] };
  return {
    vectors: eigenvectorMatrix.subMatrixColumn(indices),
    roots: indices.map((i) => Math.sqrt(at(realEigenvalues, i))),
  };
}

/** Eigenvectors by their roots: vectors @ diag(1 / roots), what makes a factor orthonormal. */
function divided({ vectors, roots }: Roots): Matrix {
  return scaledColumns(
    vectors,
    Float64Array.from(roots, (root) => 1 / root),
  );
}

function scaledColumns(matrix: Matrix, factors: Float64Array): Matrix {
  const scaled = matrix.clone();
  factors.forEach((factor, column) => scaled.mulColumn(column, factor));
  return scaled;
}

function pick(matrix: Matrix, columns: number): Matrix {
  return matrix.subMatrix(0, matrix.rows - 1, 0, columns - 1);
}

function toMatrix(values: Float64Array, rank: number): Matrix {
  return Matrix.from1DArray(rank, rank, values);
}

function rowMajor(matrix: Matrix): Float64Array {
  return Float64Array.from(matrix.to1DArray());
}

function at(values: ArrayLike<number>, i: number): number {
  return values[i] as number;
}

function nothing(): Decomposition {
  return { singularValues: new Float64Array(), right: new Float64Array(), left: new Float64Array() };
}
