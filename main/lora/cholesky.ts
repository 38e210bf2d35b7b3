/** Cholesky's factor with complete pivoting (Higham 1990): it finds the rank of a Gram matrix on its way. */
export interface PivotedCholesky {
  readonly rank: number;
  /** The matrix's indices by pivot: the first `rank` of them are independent. */
  readonly order: readonly number[];
  /** [n, rank] row-major, rows as in the matrix: matrix = lower lower^T. Row order[i] ends with column i. */
  readonly lower: Float64Array;
}

/**
 * @param gram [n, n] row-major, positive semidefinite
 * @param tolerance what is left of the diagonal below it is taken for nothing
 */
export function pivotedCholesky(gram: Float64Array, n: number, tolerance: number): PivotedCholesky {
  const columns: Float64Array[] = [];
  const left = Float64Array.from({ length: n }, (_, i) => gram[i * n + i] as number);
  const order = Array.from(left.keys());
  while (columns.length < n) {
    const step = columns.length;
    const at = largestFrom(order, left, step);
    const pivot = order[at] as number;
    const value = left[pivot] as number;
    if (!(value > tolerance)) break;
    [order[step], order[at]] = [pivot, order[step] as number];
    columns.push(nextColumn(gram, n, order, columns, Math.sqrt(value)));
    const column = columns[step] as Float64Array;
    for (let i = step + 1; i < n; i++) {
      const row = order[i] as number;
      left[row] = (left[row] as number) - (column[row] as number) ** 2;
    }
  }
  return { rank: columns.length, order, lower: besideEachOther(columns, n) };
}

function largestFrom(order: readonly number[], left: Float64Array, from: number): number {
  let best = from;
  for (let i = from + 1; i < order.length; i++) {
    if ((left[order[i] as number] as number) > (left[order[best] as number] as number)) best = i;
  }
  return best;
}

function nextColumn(
  gram: Float64Array,
  n: number,
  order: readonly number[],
  columns: readonly Float64Array[],
  root: number,
): Float64Array {
  const step = columns.length;
  const pivot = order[step] as number;
  const column = new Float64Array(n);
  column[pivot] = root;
  for (let i = step + 1; i < n; i++) column[order[i] as number] = gram[pivot * n + (order[i] as number)] as number;
  for (const earlier of columns) {
    const factor = earlier[pivot] as number;
    for (let i = step + 1; i < n; i++) {
      const row = order[i] as number;
      column[row] = (column[row] as number) - factor * (earlier[row] as number);
    }
  }
  for (let i = step + 1; i < n; i++) column[order[i] as number] = (column[order[i] as number] as number) / root;
  return column;
}

function besideEachOther(columns: readonly Float64Array[], n: number): Float64Array {
  const width = columns.length;
  const result = new Float64Array(n * width);
  columns.forEach((column, j) => column.forEach((value, i) => (result[i * width + j] = value)));
  return result;
}
