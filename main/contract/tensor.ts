/** Element types by their safetensors names; these are the ones that the engine can compute with. */
export const DTYPES = ['F32', 'F16', 'BF16', 'F8_E4M3'] as const;
export type Dtype = (typeof DTYPES)[number];

export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = { F32: 4, F16: 2, BF16: 2, F8_E4M3: 1 };

/** Bytes of a file on disk, of one value each unless it is a {@link TensorRange}. */
export interface ByteRange {
  readonly name: string;
  /** Row-major shape. */
  readonly shape: readonly number[];
  /** Absolute path, symbolic links resolved. */
  readonly file: string;
  /** First byte within the file. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** Where one tensor (or a run of its rows) lies: raw little-endian values in a file on disk. */
export interface TensorRange extends ByteRange {
  readonly dtype: Dtype;
  /** What the stored values are multiplied by, where that is not 1. */
  readonly scale?: number;
}

/** A tensor in memory, as the runtime takes and gives it. */
export interface HostTensor {
  readonly data: Float32Array | Float64Array | Int8Array | Uint8Array | Uint16Array | BigInt64Array;
  readonly dims: readonly number[];
  /** Whoever made it has seen that all its values are finite. */
  readonly isFinite?: true;
}

export type TensorMap = Readonly<Record<string, HostTensor>>;

/** Number of values of a shape; a scalar (no dimensions) has one. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * A run of rows of a tensor as a range of its own: no byte is copied.
 * @param first first row; @param count number of rows. Rows are slices along the first dimension; all of them are the range itself.
 */
export function rowsOf<Range extends ByteRange>(range: Range, first: number, count: number): Range {
  const [rows = 1, ...rest] = range.shape;
  if (first === 0 && count === rows) return range;
  const rowBytes = range.length / rows;
  return {
    ...range,
    name: `${range.name}[${first}:${first + count}]`,
    shape: [count, ...rest],
    offset: range.offset + first * rowBytes,
    length: count * rowBytes,
  };
}

/** The same bytes under another shape of as many values. */
export function viewOf(range: TensorRange, shape: readonly number[]): TensorRange {
  if (elementCount(shape) !== elementCount(range.shape)) {
    throw new RangeError(`${range.name}: a view of ${range.shape.join('x')} can't be ${shape.join('x')}`);
  }
  return { ...range, shape };
}
