import { Worker } from 'node:worker_threads';
import type { Trace } from './trace.ts';

export interface ReadRequest {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

export interface ReadReport {
  readonly bytes: number;
  readonly ms: number;
  readonly error?: string;
}

/** Starts the reader thread and hands it ranges; it never holds the computation up. */
export class Reader {
  readonly #worker: Worker;

  constructor(trace: Trace) {
    this.#worker = new Worker(new URL('./reader-thread.ts', import.meta.url));
    this.#worker.unref();
    this.#worker.on('message', ({ bytes, ms }: ReadReport) => trace.addReadAhead(bytes, ms));
  }

  warm(ranges: readonly ReadRequest[]): void {
    this.#worker.postMessage(mergeRanges(ranges));
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Neighbouring tensors as one read, and each byte once; sorted by place, small gaps (other tensors) not bridged. */
export function mergeRanges(ranges: readonly ReadRequest[]): ReadRequest[] {
  const sorted = ranges
    .map(({ file, offset, length }) => ({ file, offset, length }))
    .sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.offset - b.offset));
  const merged: { file: string; offset: number; length: number }[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last && last.file === range.file && range.offset <= endOf(last)) {
      last.length = Math.max(endOf(last), endOf(range)) - last.offset;
    } else merged.push(range);
  }
  return merged;
}

function endOf({ offset, length }: ReadRequest): number {
  return offset + length;
}
