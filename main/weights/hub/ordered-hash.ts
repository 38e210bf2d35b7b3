import { createHash, type Hash } from 'node:crypto';
import type { BlockPool } from './block-pool.ts';
import { beginHash } from './content-hash.ts';
import type { FinishedBlocks } from './journal.ts';
import type { PartFile } from './part-file.ts';

/**
 * The hash of a whole file whose blocks come in any order: it follows behind, from the start, as far as all
 * blocks are there, and reads them back from the file (so, as a rule, from the page cache). Blocks of an
 * earlier run are checked against the journal on the way; a damaged one goes back into the pool and is
 * fetched again, alone.
 */
export class OrderedHash {
  readonly #part: PartFile;
  readonly #pool: BlockPool;
  readonly #signal: AbortSignal;
  readonly #whole: Hash;
  /** Blocks of an earlier run, as the journal says they are. */
  readonly #unchecked: Map<number, string>;
  readonly #buffer: Buffer;
  #next = 0;
  #running: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | undefined;
  /** Blocks that were damaged. */
  damaged = 0;

  /** @param earlier blocks that are to be checked. @param signal stops it between two blocks */
  constructor(part: PartFile, pool: BlockPool, earlier: FinishedBlocks, signal: AbortSignal) {
    this.#signal = signal;
    this.#part = part;
    this.#pool = pool;
    this.#unchecked = new Map(earlier);
    this.#buffer = Buffer.allocUnsafe(Math.min(1 << 20, Math.max(1, pool.blockSize)));
    this.#whole = beginHash(part.head.hash.kind, pool.size);
  }

  /** Bytes hashed so far. */
  get bytes(): number {
    return Math.min(this.#pool.size, this.#next * this.#pool.blockSize);
  }

  /** A block that was fetched in this run needs no check. */
  fetched(block: number): void {
    this.#unchecked.delete(block);
    void this.advance().catch(() => undefined);
  }

  /** Hashes as far as blocks are there. @throws I2lError FILE_UNREADABLE */
  advance(): Promise<void> {
    const mine = this.#running.then(() => this.#step());
    this.#running = mine.catch((error: unknown) => {
      this.#failure ??= { error };
    });
    return mine;
  }

  /** Waits until nothing is being read any more; after the signal that is soon. */
  async settled(): Promise<void> {
    await this.#running;
  }

  /** Hex; once all blocks are hashed. */
  digest(): string {
    return this.#whole.digest('hex');
  }

  async #step(): Promise<void> {
    if (this.#failure) throw this.#failure.error;
    while (!this.#signal.aborted && this.#next < this.#pool.count && this.#pool.has(this.#next)) {
      const block = this.#next;
      const expected = this.#unchecked.get(block);
      if (expected !== undefined && (await this.#hashOf(block)) !== expected) {
        this.#unchecked.delete(block);
        this.#part.forget(block);
        this.#pool.undo(block);
        this.damaged++;
        return;
      }
      await this.#readBlock(block, (bytes) => this.#whole.update(bytes));
      this.#next++;
    }
  }

  async #hashOf(block: number): Promise<string> {
    const hash = createHash('sha256');
    await this.#readBlock(block, (bytes) => hash.update(bytes));
    return hash.digest('hex');
  }

  async #readBlock(block: number, use: (bytes: Uint8Array) => void): Promise<void> {
    const { start, end } = this.#pool.range(block);
    for (let at = start; at < end;) {
      const wanted = this.#buffer.subarray(0, Math.min(this.#buffer.length, end - at));
      const got = await this.#part.read(wanted, at);
      use(wanted.subarray(0, got));
      if (got < wanted.length) return;
      at += got;
    }
  }
}
