import { createHash, type Hash } from 'node:crypto';
import { I2lError } from '../../contract/errors.ts';
import { pause, waitAfter } from './backoff.ts';
import type { Run } from './block-pool.ts';
import { cancelled, isTransient, networkError, refusal } from './http.ts';
import { chunksOf } from './stalls.ts';
import type { Transfer } from './transfer.ts';

/** Blocks that one request asks for at most. */
const MOST_BLOCKS = 16;

/**
 * One connection: claims blocks, fetches them, again and again until there are none left. What fails
 * goes back into the pool and is tried again after a wait.
 * @returns when there is nothing left to claim
 * @throws I2lError what it failed with for good, or too often in a row
 */
export async function fetchBlocks(transfer: Transfer): Promise<void> {
  const { pool, connections, signal } = transfer;
  const failures = new FailuresInARow(transfer);
  for (;;) {
    await waitQuietly(transfer);
    const run = transfer.whole ? undefined : pool.claim(MOST_BLOCKS, connections);
    if (!run) return;
    try {
      await fetchRun(transfer, run);
      failures.reset();
    } catch (error) {
      if (pool.has(run.first)) failures.reset();
      pool.giveBack(run);
      if (signal.aborted) throw cancelled();
      const known = I2lError.from(error);
      // Another connection found out that it has to bring the whole file alone.
      if (transfer.whole && known.code === 'CANCELLED') return;
      await failures.waitOrThrow(known);
    }
  }
}

/** Waits grow with a connection's own failures; it gives up only where no other one gets on either. */
class FailuresInARow {
  readonly #transfer: Transfer;
  #count = 0;
  /** Failures since any connection finished a block. */
  #stuck = 0;
  #bytesBefore = -1;

  constructor(transfer: Transfer) {
    this.#transfer = transfer;
  }

  reset(): void {
    this.#count = 0;
  }

  /** @throws I2lError the failure itself, where waiting is no use */
  async waitOrThrow(error: I2lError): Promise<void> {
    const { pool, retry, signal } = this.#transfer;
    this.#count++;
    this.#stuck = pool.bytesDone === this.#bytesBefore ? this.#stuck + 1 : 1;
    this.#bytesBefore = pool.bytesDone;
    const wait = waitAfter(error, this.#count, retry);
    if (!isTransient(error) || this.#stuck >= retry.attempts || wait > retry.longestAskedMs) throw error;
    // The server's word is for all of us.
    if (error.code === 'RATE_LIMITED') this.#transfer.quietUntil = Math.max(this.#transfer.quietUntil, performance.now() + wait);
    else await pause(wait, signal);
  }
}

async function waitQuietly({ quietUntil, signal }: Transfer): Promise<void> {
  const wait = quietUntil - performance.now();
  if (wait > 0) await pause(wait, signal);
  if (signal.aborted) throw cancelled();
}

async function fetchRun(transfer: Transfer, run: Run): Promise<void> {
  const { pool, link, signal } = transfer;
  const { start } = pool.range(run.first);
  const { end } = pool.range(run.first + run.count - 1);
  const answer = await link.open(start, end, signal);
  if (answer.end - answer.start === pool.size && (start > 0 || end < pool.size)) {
    answer.response.body.destroy();
    transfer.whole = true;
    throw cancelled();
  }
  const got = await receive(transfer, answer.response, answer.start);
  if (got < answer.end) throw cutShort(answer.response.url, got, answer.end);
  // A server may answer with less than was asked for, if it brings us on.
  if (answer.end < end && !pool.has(run.first)) throw cutShort(answer.response.url, got, end);
  pool.giveBack(run);
}

/**
 * Brings the whole file over one connection, from its start, with what is there already skipped: for servers
 * that know no ranges.
 * @throws I2lError as fetchBlocks
 */
export async function fetchWhole(transfer: Transfer): Promise<void> {
  const { pool, link, signal } = transfer;
  const failures = new FailuresInARow(transfer);
  while (!pool.isDone) {
    await waitQuietly(transfer);
    const before = pool.bytesDone;
    try {
      const answer = await link.open(0, pool.size, signal);
      const got = await receive(transfer, answer.response, answer.start);
      if (got < pool.size) throw cutShort(answer.response.url, got, pool.size);
    } catch (error) {
      if (signal.aborted) throw cancelled();
      if (pool.bytesDone > before) failures.reset();
      await failures.waitOrThrow(I2lError.from(error));
    }
  }
}

function cutShort(url: string, got: number, end: number): I2lError {
  return refusal(url, `it ended at byte ${got} of ${end}`, { transient: true });
}

/** Writes what comes to its place and finishes block after block. @returns the byte after the last one */
async function receive(transfer: Transfer, response: Parameters<typeof chunksOf>[0], start: number): Promise<number> {
  const { pool, stalls, limit, signal } = transfer;
  const block = new OpenBlock(transfer);
  let at = start;
  try {
    for await (const chunk of chunksOf(response, stalls, signal)) {
      let rest = chunk;
      while (rest.length > 0) {
        const index = Math.floor(at / pool.blockSize);
        if (index >= pool.count) throw networkError(response.url, new Error('more bytes came than the file has'));
        const piece = rest.subarray(0, pool.range(index).end - at);
        await block.take(index, piece, at);
        at += piece.length;
        rest = rest.subarray(piece.length);
      }
      await limit.pass(chunk.length, signal);
    }
  } finally {
    block.drop();
  }
  return at;
}

/** The block that is on its way. */
class OpenBlock {
  readonly #transfer: Transfer;
  #hash: Hash = createHash('sha256');
  #bytes = 0;

  constructor(transfer: Transfer) {
    this.#transfer = transfer;
  }

  async take(index: number, piece: Uint8Array, at: number): Promise<void> {
    const { pool, part, hash, meter } = this.#transfer;
    if (pool.has(index)) return;
    await part.write(piece, at);
    this.#hash.update(piece);
    this.#bytes += piece.length;
    meter.came(piece.length);
    if (at + piece.length < pool.range(index).end) return;
    await part.finish(index, this.#hash.digest('hex'));
    pool.done(index);
    this.drop();
    this.#hash = createHash('sha256');
    hash.fetched(index);
  }

  /** What came of it is lost, or counted with the finished ones. */
  drop(): void {
    this.#transfer.meter.settled(this.#bytes);
    this.#bytes = 0;
  }
}
