import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { fileError, I2lError } from '../contract/errors.ts';
import { DTYPE_BYTES, DTYPES, type Dtype, type TensorRange } from '../contract/tensor.ts';
import { parseHeaderJson } from './header-json.ts';

/**
 * The safetensors format: eight bytes of little-endian header length, a JSON header, raw tensors.
 * https://github.com/huggingface/safetensors#format
 *
 * A checkpoint comes from the internet, so the header is taken as hostile: everything it claims is
 * checked against the file's real size before a byte more is allocated or read. The format allows 100 MB of
 * header, which take half a minute to look through; the longest of the published models has 0.4 MB.
 */
export const MAX_HEADER_BYTES = 16_000_000;

/** Element sizes of all dtypes that the format knows, in bits, so that other files can at least be listed. */
const KNOWN_BITS: Readonly<Record<string, number>> = {
  BOOL: 8, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64,
}; // prettier-ignore

export interface TensorEntry {
  readonly name: string;
  /** The header's own word, e.g. 'BF16'; see {@link asComputable}. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Absolute bytes in the file. */
  readonly offset: number;
  readonly length: number;
}

export interface SafetensorsFile {
  /** Absolute path with symbolic links resolved. */
  readonly file: string;
  readonly size: number;
  readonly dataOffset: number;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads and checks a file's header; costs the header alone, whatever the file's size.
 * @throws I2lError SAFETENSORS_HEADER, SAFETENSORS_TENSOR, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export function readSafetensors(path: string): SafetensorsFile {
  let fd: number | undefined;
  try {
    const file = realpathSync(path);
    // Before it is opened: opening a pipe waits for its writer.
    if (!statSync(file).isFile()) throw headerError(path, 'it is not a regular file');
    fd = openSync(file, 'r');
    const { size } = fstatSync(fd);
    const json = readHeaderText(fd, size, path);
    return { file, size, ...parseHeader(json, size, path) };
  } catch (error) {
    throw fileError(path, 'read', error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function readHeaderText(fd: number, size: number, path: string): Buffer {
  if (size < 8) throw headerError(path, `it has ${size} bytes, and a safetensors file has at least 8`);
  const prefix = readExactly(fd, 0, 8, path);
  const length = prefix.readBigUInt64LE(0);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw headerError(
      path,
      `its header claims ${length} bytes, and at most ${MAX_HEADER_BYTES} are read; published models have less than 1 MB`,
    );
  }
  if (length < 2n) throw headerError(path, `its header claims ${length} bytes, and the shortest is {}`);
  if (8n + length > BigInt(size)) {
    throw headerError(path, `its header claims ${length} bytes, and the file has ${size}; it is truncated or of another kind`);
  }
  return readExactly(fd, 8, Number(length), path);
}

/** Reads a range of an open file; a short read is an error, never zeros. */
export function readExactly(fd: number, offset: number, length: number, path: string): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const got = readSync(fd, buffer, done, length - done, offset + done);
    if (got === 0) throw headerError(path, `it ended at byte ${offset + done} while ${length} bytes from ${offset} were read`);
    done += got;
  }
  return buffer;
}

type ParsedHeader = Pick<SafetensorsFile, 'dataOffset' | 'tensors' | 'metadata'>;

function parseHeader(json: Buffer, fileSize: number, path: string): ParsedHeader {
  const header = parseHeaderJson(json, (why) => headerError(path, why));
  const dataOffset = 8 + json.length;
  const dataLength = fileSize - dataOffset;
  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of header) {
    if (name === '__metadata__') metadata = parseMetadata(value, path);
    else tensors.set(name, parseEntry(name, value, dataOffset, dataLength, path));
  }
  checkCoverage([...tensors.values()], dataOffset, fileSize, path);
  return { dataOffset, tensors, metadata };
}

function parseMetadata(value: unknown, path: string): Record<string, string> {
  if (!isRecord(value)) throw headerError(path, '__metadata__ is not an object');
  const entries = Object.entries(value);
  for (const [key, text] of entries) {
    if (typeof text !== 'string') throw headerError(path, `__metadata__ "${shorten(key)}" is not text`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function parseEntry(name: string, value: unknown, dataOffset: number, dataLength: number, path: string): TensorEntry {
  const refuse = (expected: string): I2lError => tensorError(path, name, expected);
  if (!isRecord(value)) throw refuse('an object with dtype, shape and data_offsets');
  const { dtype, shape, data_offsets: range } = value;
  const bits = typeof dtype === 'string' && Object.hasOwn(KNOWN_BITS, dtype) ? KNOWN_BITS[dtype] : undefined;
  if (typeof dtype !== 'string' || bits === undefined) {
    // Only text is shown: JSON.stringify overflows the stack on a value nested deep enough.
    throw refuse(`a known dtype, not ${typeof dtype === 'string' ? shorten(JSON.stringify(dtype)) : typeof dtype}`);
  }
  if (!isSizes(shape)) throw refuse('a shape of whole numbers from 0');
  if (!isSizes(range) || range.length !== 2) throw refuse('data_offsets of two whole numbers from 0');
  const [begin, end] = range as [number, number];
  if (begin > end) throw refuse(`data_offsets in order, not [${begin}, ${end}]`);
  if (end > dataLength) throw refuse(`a range inside the file's ${dataLength} data bytes, not [${begin}, ${end}]`);
  const needed = bitsOf(shape, bits);
  if (needed > MOST_BITS) throw refuse(`a shape that fits into a file, not ${shapeText(shape)}`);
  if (needed % 8n !== 0n) throw refuse(`a number of values that fill whole bytes, not ${dtype} ${shapeText(shape)}`);
  if (needed / 8n !== BigInt(end - begin)) {
    throw refuse(`${needed / 8n} bytes for ${dtype} ${shapeText(shape)}, not ${end - begin}`);
  }
  return { name, dtype, shape, offset: dataOffset + begin, length: end - begin };
}

/** More than any file has. */
const MOST_BITS = 2n ** 64n;

/**
 * Bits of a tensor; bigint, because a hostile shape can pass 2^53. It stops at the first product past
 * MOST_BITS: a header has room for millions of sizes, and their whole product would take hours.
 */
function bitsOf(shape: readonly number[], bits: number): bigint {
  if (shape.includes(0)) return 0n;
  let total = BigInt(bits);
  for (const size of shape) {
    if (total > MOST_BITS) break;
    total *= BigInt(size);
  }
  return total;
}

/** The format asks for tensors that neither overlap nor leave holes; a hole could hide another file. */
function checkCoverage(entries: TensorEntry[], dataOffset: number, fileSize: number, path: string): void {
  entries.sort((a, b) => a.offset - b.offset || a.length - b.length);
  let end = dataOffset;
  let previous = 'the header';
  for (const entry of entries) {
    if (entry.offset < end) throw tensorError(path, entry.name, `a range of its own; it overlaps ${shorten(previous)}`);
    if (entry.offset > end) {
      throw tensorError(path, entry.name, `to start where ${shorten(previous)} ends; ${entry.offset - end} bytes lie between`);
    }
    end = entry.offset + entry.length;
    previous = entry.name;
  }
  if (end !== fileSize) throw headerError(path, `${fileSize - end} bytes at its end belong to no tensor`);
}

/** Where a tensor lies, for the engine. @throws I2lError if its dtype is not one that the engine computes with. */
export function asComputable(file: SafetensorsFile, entry: TensorEntry): TensorRange {
  if (!(DTYPES as readonly string[]).includes(entry.dtype)) {
    throw tensorError(file.file, entry.name, `one of ${DTYPES.join(', ')}, not ${entry.dtype}`);
  }
  return { ...entry, dtype: entry.dtype as Dtype, file: file.file };
}

/** Reads one tensor's raw little-endian bytes. @returns exactly `range.length` bytes. */
export function readTensorBytes(range: Pick<TensorRange, 'file' | 'offset' | 'length'>): Buffer {
  let fd: number | undefined;
  try {
    fd = openSync(range.file, 'r');
    return readExactly(fd, range.offset, range.length, range.file);
  } catch (error) {
    throw fileError(range.file, 'read', error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Number of values in a range of bytes of a dtype. */
export function valuesIn(range: TensorRange): number {
  return range.length / DTYPE_BYTES[range.dtype];
}

export function shapeText(shape: readonly number[]): string {
  return shorten(`[${shape.join(', ')}]`);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A name or value of a hostile file, cut for a message. */
export function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

function headerError(file: string, why: string): I2lError {
  return new I2lError('SAFETENSORS_HEADER', `${file}: not a usable safetensors file: ${why}.`, { file, why });
}

function tensorError(file: string, tensor: string, expected: string): I2lError {
  const name = shorten(tensor);
  return new I2lError('SAFETENSORS_TENSOR', `${file}: tensor "${name}": expected ${expected}.`, { file, tensor: name, expected });
}
