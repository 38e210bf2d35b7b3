import { closeSync, constants, openSync, write, writeSync } from 'node:fs';
import { systemCode } from '../contract/errors.ts';

/** Places and lengths of such writes are multiples of this: no disk asks for more, and the cache has pages of it. */
const PAGE_BYTES = 4096;
const BLOCK_BYTES = 4 << 20;
/** One is being filled, and the others are on their way: with fewer, the disk waits for us. */
const BLOCKS = 3;
/** So many files at once have blocks; others are written through the cache, so that a batch's memory does not grow. */
const MOST_FILES = 2;
/** A smaller file is soon read by whoever made it, and is better kept in the cache. */
const LEAST_FILE_BYTES = 128 << 20;
/** A smaller piece that doesn't continue the one before it is not worth a new block. */
const LEAST_PIECE_BYTES = 1 << 20;

/** Writes bytes to a place in the file through the system's cache. */
type PlainWrite = (bytes: Uint8Array, position: number) => void;

/**
 * Writes of a large file past the system's file cache (Linux's O_DIRECT), beside plain ones. A copy to the cache takes a
 * processor longer than to hash the bytes, the disk gets them later, and they push the models out of it, which the next job
 * reads. Pieces that continue one another are gathered in blocks; what the system doesn't take this way is written plainly.
 *
 * A page of the file is written by either way and never by both: blocks are whole pages, and no byte comes twice.
 */
export class DirectWrites {
  readonly #fd: number;
  readonly #plain: PlainWrite;
  readonly #giveBack: () => void;
  readonly #free: Uint8Array[];
  readonly #onTheirWay = new Set<Promise<void>>();
  #block: Uint8Array;
  /** Place of the block in the file, and its bytes that have come. */
  #at: number;
  #filled = 0;
  #failure: unknown;
  #isAborted = false;

  /**
   * @param bytes of the whole file; @param first where the first piece is expected
   * @returns undefined where the system or the file is none for it
   */
  static open(path: string, bytes: number, first: number, plain: PlainWrite): DirectWrites | undefined {
    if (process.platform !== 'linux' || bytes < LEAST_FILE_BYTES) return undefined;
    const blocks = takeBlocks();
    if (!blocks) return undefined;
    try {
      const fd = openSync(path, constants.O_WRONLY | constants.O_DIRECT);
      return new DirectWrites(fd, first, plain, blocks, () => spare.push(blocks));
    } catch (error) {
      spare.push(blocks);
      if (systemCode(error) === 'EINVAL') return undefined; // A file system that has no such thing.
      throw error;
    }
  }

  /** @param blocks memory to gather pieces in; each begins at a page and is whole pages */
  constructor(fd: number, first: number, plain: PlainWrite, blocks: readonly Uint8Array[], giveBack: () => void) {
    this.#fd = fd;
    this.#giveBack = giveBack;
    this.#at = first;
    this.#plain = plain;
    this.#free = [...blocks];
    this.#block = this.#free.pop() as Uint8Array;
  }

  /** @returns false for a small piece by itself, which is to be written plainly. @throws what an earlier write failed with */
  take(bytes: Uint8Array, position: number): boolean {
    this.#check();
    if (position !== this.#at + this.#filled) {
      if (bytes.length < LEAST_PIECE_BYTES) return false;
      this.#flushRest();
      this.#at = position;
    }
    this.#append(bytes);
    return true;
  }

  /** Waits until all is written; nothing can be taken after it. @throws what a write failed with */
  async settle(): Promise<void> {
    await Promise.all(this.#onTheirWay);
    this.#check();
    this.#flushRest();
    this.#close();
  }

  /** What is on its way may still be written; nothing else is. */
  abort(): void {
    this.#isAborted = true;
    void Promise.all(this.#onTheirWay).then(() => this.#close());
  }

  #append(bytes: Uint8Array): void {
    for (let done = this.#appendToPage(bytes); done < bytes.length;) {
      const some = bytes.subarray(done, done + this.#block.length - this.#filled);
      this.#block.set(some, this.#filled);
      this.#filled += some.length;
      done += some.length;
      if (this.#filled === this.#block.length) this.#send();
    }
  }

  /** Blocks begin at a page; what comes before it is written plainly. @returns how much that was */
  #appendToPage(bytes: Uint8Array): number {
    if (this.#filled > 0 || this.#at % PAGE_BYTES === 0) return 0;
    const before = bytes.subarray(0, PAGE_BYTES - (this.#at % PAGE_BYTES));
    this.#plain(before, this.#at);
    this.#at += before.length;
    return before.length;
  }

  /** The whole block, while the next one is filled; with none free, it waits. */
  #send(): void {
    const [block, at] = [this.#block, this.#at];
    this.#at += block.length;
    this.#filled = 0;
    const next = this.#free.pop();
    if (next) {
      this.#block = next;
      this.#sendLater(block, at);
    } else {
      const written = writtenOf(() => writeSync(this.#fd, block, 0, block.length, at));
      this.#rest(block, at, written);
    }
  }

  #sendLater(block: Uint8Array, at: number): void {
    const sent = new Promise<void>((resolve) => {
      write(this.#fd, block, 0, block.length, at, (error, written) => {
        try {
          if (!this.#isAborted) this.#rest(block, at, error ? 0 : written);
        } catch (failure) {
          this.#failure ??= failure;
        }
        this.#free.push(block);
        resolve();
      });
    });
    this.#onTheirWay.add(sent);
    void sent.then(() => this.#onTheirWay.delete(sent));
  }

  /** What the system did not take; it says why if it can't be written plainly either. */
  #rest(block: Uint8Array, at: number, written: number): void {
    if (written < block.length) this.#plain(block.subarray(written), at + written);
  }

  #flushRest(): void {
    if (this.#filled > 0) this.#plain(this.#block.subarray(0, this.#filled), this.#at);
    this.#at += this.#filled;
    this.#filled = 0;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #close(): void {
    closeSync(this.#fd);
    this.#giveBack();
  }
}

function writtenOf(action: () => number): number {
  try {
    return action();
  } catch {
    return 0; // Written plainly, which says what is wrong.
  }
}

const spare: (readonly Uint8Array[])[] = [];
let made = 0;

/** Blocks that begin at a page of memory, as only WebAssembly's memory is sure to. @returns undefined if all are taken */
function takeBlocks(): readonly Uint8Array[] | undefined {
  const found = spare.pop();
  if (found || made === MOST_FILES) return found;
  made++;
  const { buffer } = new WebAssembly.Memory({ initial: (BLOCKS * BLOCK_BYTES) >> 16 });
  return Array.from({ length: BLOCKS }, (_, i) => new Uint8Array(buffer, i * BLOCK_BYTES, BLOCK_BYTES));
}
