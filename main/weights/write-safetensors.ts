import { closeSync, fsyncSync, ftruncateSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import { DTYPE_BYTES, elementCount, type Dtype } from '../contract/tensor.ts';
import { DirectWrites } from './direct-writes.ts';

export interface TensorSpec {
  readonly name: string;
  readonly dtype: Dtype | 'U8' | 'I8';
  readonly shape: readonly number[];
}

/** Bytes of a tensor. */
export function tensorBytes({ dtype, shape }: Pick<TensorSpec, 'dtype' | 'shape'>): number {
  return elementCount(shape) * (dtype === 'U8' || dtype === 'I8' ? 1 : DTYPE_BYTES[dtype]);
}

/** Where a tensor will lie in the file: absolute bytes. */
export interface Slot {
  readonly offset: number;
  readonly length: number;
}

/** So much is sent to the disk while the next is computed; else a large file's last flush takes as long as all else. */
const FLUSHED_BYTES = 32 << 20;

/** Tensor data starts at a multiple of this, as other writers do and memory maps like. */
const ALIGNMENT = 8;

/**
 * Writes a safetensors file whose layout is known before its values: tensors may come in any order and
 * in pieces. Until {@link finish} there is only a temporary file beside the target; then it is fsynced
 * and renamed, so that a reader sees the old file or the whole new one.
 */
export class SafetensorsWriter {
  readonly path: string;
  readonly temporary: string;
  readonly size: number;
  readonly #slots = new Map<string, Slot>();
  /** Bytes of each tensor that are still to come; those that are whole are not in it. */
  readonly #missing = new Map<string, number>();
  readonly #header: Buffer;
  #fd: number | undefined;
  #created = false;
  #unflushed = 0;
  #direct: DirectWrites | undefined;

  /**
   * @param tensors in file order. @param metadata text by key; keys are sorted, so that the same
   * content gives the same bytes. @param temporary a path on the target's file system.
   * @throws I2lError FILE_WRITE_FAILED, DISK_FULL
   */
  constructor(
    path: string,
    tensors: readonly TensorSpec[],
    metadata: Readonly<Record<string, string>> = {},
    temporary = temporaryPath(path),
  ) {
    this.path = path;
    this.temporary = temporary;
    this.#header = encodeHeader(tensors, metadata);
    let offset = this.#header.length;
    for (const tensor of tensors) {
      const length = tensorBytes(tensor);
      this.#slots.set(tensor.name, { offset, length });
      if (length > 0) this.#missing.set(tensor.name, length);
      offset += length;
    }
    this.size = offset;
    this.#guard(() => {
      // 'wx': a temporary file of another writer is never taken over, nor removed.
      this.#fd = openSync(temporary, 'wx');
      this.#created = true;
      ftruncateSync(this.#fd, this.size);
      this.#writeAt(this.#header, 0);
    });
  }

  slot(name: string): Slot {
    const slot = this.#slots.get(name);
    if (!slot) throw new I2lError('INTERNAL', `"${name}" is not in the layout of ${this.path}.`, { tensor: name });
    return slot;
  }

  /** Writes bytes of a tensor, from `at` bytes after its start; no byte comes twice. */
  write(name: string, bytes: Uint8Array, at = 0): void {
    const { offset, length } = this.slot(name);
    if (at < 0 || at + bytes.length > length) {
      throw new I2lError('INTERNAL', `"${name}" has ${length} bytes; ${bytes.length} at ${at} do not fit.`, { tensor: name });
    }
    this.#guard(() => this.#writeAt(bytes, offset + at));
    const missing = (this.#missing.get(name) ?? 0) - bytes.length;
    if (missing > 0) this.#missing.set(name, missing);
    else this.#missing.delete(name);
  }

  /**
   * From here on, pieces that come one after another go past the system's cache if the file is large and the system lets
   * them: for files that are not read at once. {@link settled} has to come before a patch and the end.
   */
  writePastCache(): void {
    this.#guard(() => {
      const plain = (bytes: Uint8Array, position: number): void => this.#writePlainly(bytes, position);
      this.#direct = DirectWrites.open(this.temporary, this.size, this.#header.length, plain);
    });
  }

  /** Waits for what is on its way to the disk. @throws as {@link write} does */
  async settled(): Promise<void> {
    try {
      await this.#direct?.settle();
    } catch (error) {
      throw this.#failed(error);
    }
    this.#direct = undefined;
  }

  /** Replaces a text in the header, everywhere, by another of the same length (a hash that is known only at the end). */
  patchHeader(placeholder: string, text: string): void {
    this.#expectSettled();
    if (text.length !== placeholder.length) throw new RangeError('a patch must keep the length');
    let at = this.#header.indexOf(placeholder);
    if (at < 0) throw new RangeError(`${placeholder} is not in the header`);
    for (; at >= 0; at = this.#header.indexOf(placeholder, at + text.length)) this.#header.write(text, at, 'utf8');
    this.#guard(() => this.#writeAt(this.#header, 0));
  }

  /** Makes the file durable and visible under its name. @throws I2lError INTERNAL if a tensor's bytes never came */
  finish(): void {
    this.seal();
    this.publish();
  }

  /** Makes the temporary file durable; nothing can be written any more. @throws as {@link finish} does */
  seal(): void {
    this.#guard(() => {
      const fd = this.#open();
      this.#expectSettled();
      for (const [name, bytes] of this.#missing) {
        throw new I2lError('INTERNAL', `${this.path}: ${bytes} bytes of "${name}" were never written.`, { tensor: name });
      }
      fsyncSync(fd);
      closeSync(fd);
      this.#fd = undefined;
    });
  }

  /** Makes the sealed file visible under its name. */
  publish(): void {
    this.#guard(() => {
      renameSync(this.temporary, this.path);
      this.#created = false;
      syncFolder(dirname(this.path));
    });
  }

  /** Removes what was written so far; the target is as it was. Safe to call twice. */
  abort(): void {
    this.#direct?.abort();
    this.#direct = undefined;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    if (this.#created) rmSync(this.temporary, { force: true });
    this.#created = false;
  }

  #open(): number {
    if (this.#fd === undefined) throw new I2lError('INTERNAL', `${this.path} is closed.`);
    return this.#fd;
  }

  #expectSettled(): void {
    if (this.#direct) throw new I2lError('INTERNAL', `${this.path}: its bytes are still on their way.`);
  }

  #writeAt(bytes: Uint8Array, position: number): void {
    if (!this.#direct?.take(bytes, position)) this.#writePlainly(bytes, position);
  }

  #writePlainly(bytes: Uint8Array, position: number): void {
    const fd = this.#open();
    let done = 0;
    while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    this.#unflushed += bytes.length;
    if (this.#unflushed >= FLUSHED_BYTES) this.#flushAhead();
  }

  /** A head start for {@link finish}, which flushes what is left, and is told by the system of what failed here. */
  #flushAhead(): void {
    this.#unflushed = 0;
    if (process.platform === 'win32') return; // A file that is open can't be renamed there.
    void open(this.temporary, 'r+')
      .then(async (handle) => handle.datasync().finally(() => handle.close()))
      .catch(() => undefined);
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #failed(error: unknown): I2lError {
    this.abort();
    return fileError(this.path, 'write', error);
  }
}

let written = 0;

/** Beside the target, with our process in its name, so that an orphan can be told: see stale-files.ts. */
export function temporaryPath(path: string): string {
  return `${path}.${process.pid}-${written++}.i2l-part`;
}

function encodeHeader(tensors: readonly TensorSpec[], metadata: Readonly<Record<string, string>>): Buffer {
  // No prototype: a tensor may be called __proto__.
  const header = Object.create(null) as Record<string, unknown>;
  const keys = Object.keys(metadata).sort();
  if (keys.length > 0) header['__metadata__'] = Object.fromEntries(keys.map((key) => [key, metadata[key]]));
  let begin = 0;
  for (const { name, dtype, shape } of tensors) {
    if (name === '__metadata__') throw new I2lError('INTERNAL', 'a tensor may not be called __metadata__.', { tensor: name });
    if (Object.hasOwn(header, name)) throw new I2lError('INTERNAL', `tensor "${name}" stands twice in a layout.`);
    const end = begin + tensorBytes({ dtype, shape });
    header[name] = { dtype, shape, data_offsets: [begin, end] };
    begin = end;
  }
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  const padded = Math.ceil((8 + json.length) / ALIGNMENT) * ALIGNMENT - 8;
  const bytes = Buffer.alloc(8 + padded, ' ');
  bytes.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(bytes, 8);
  return bytes;
}

/** A rename is durable once its folder is; Windows has no such call and needs none. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes whole tensors at once; for small files. */
export function writeSafetensors(
  path: string,
  tensors: readonly (TensorSpec & { readonly bytes: Uint8Array })[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  const writer = new SafetensorsWriter(path, tensors, metadata);
  try {
    for (const { name, bytes } of tensors) writer.write(name, bytes);
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}
