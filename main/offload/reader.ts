import { Worker } from 'node:worker_threads';
import { I2lError, type ErrorShape } from '../contract/errors.ts';
import { byPlace } from '../onnx/external-data.ts';
import { joinedReads, type PlacedRead } from './placed-reads.ts';
import type { Trace } from './trace.ts';

export interface ReadRequest {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** What the thread is asked for: bytes in the system's cache, or in a buffer that it shares; or to let go of such buffers. */
export type ReaderTask =
  | { readonly warm: readonly ReadRequest[] }
  | { readonly load: readonly PlacedRead[]; readonly buffer: SharedArrayBuffer }
  | { readonly forget: true };

export type ReaderReport =
  | { readonly warmed: { readonly bytes: number; readonly ms: number; readonly error?: string } }
  | { readonly loaded: number; readonly ms: number; readonly error?: ErrorShape };

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: I2lError) => void;
}

/** Starts the reader thread and hands it ranges; it never holds the computation up. */
export class Reader {
  readonly #worker: Worker;
  readonly #trace: Trace;
  /** Loads in the order in which they were asked for, which is that of their answers. */
  readonly #waiting: Waiting[] = [];
  #lost: I2lError | undefined;

  constructor(trace: Trace) {
    this.#trace = trace;
    this.#worker = new Worker(new URL('./reader-thread.ts', import.meta.url));
    this.#worker.unref();
    this.#worker.on('message', (report: ReaderReport) => this.#take(report));
    this.#worker.on('error', (error) => this.#lose(error.message, error));
    this.#worker.on('exit', (code) => this.#lose(`it ended with code ${code}`));
  }

  /** Brings bytes into the system's cache. */
  warm(ranges: readonly ReadRequest[]): void {
    this.#ask({ warm: mergeRanges(ranges) });
  }

  /**
   * Brings bytes into a buffer.
   * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE; INTERNAL if the thread stops
   */
  load(reads: readonly PlacedRead[], buffer: SharedArrayBuffer): Promise<void> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#ask({ load: joinedReads(reads), buffer });
    });
  }

  /**
   * Gives back the memory of buffers that nobody has any more. It belongs to all threads that had them, and goes when the
   * garbage collector of each has seen that: it is called where the process was started to allow that, as the engine is.
   */
  forget(): void {
    this.#ask({ forget: true });
    globalThis.gc?.();
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(task: ReaderTask): void {
    this.#worker.postMessage(task);
  }

  #take(report: ReaderReport): void {
    if ('warmed' in report) {
      this.#trace.addReadAhead(report.warmed.bytes, report.warmed.ms);
      return;
    }
    const { resolve, reject } = this.#waiting.shift() as Waiting;
    if (report.error) return reject(I2lError.fromShape(report.error));
    this.#trace.addReadAhead(report.loaded, report.ms);
    resolve();
  }

  #lose(why: string, cause?: unknown): void {
    this.#lost ??= new I2lError('INTERNAL', `The thread that reads weights stopped: ${why}.`, {}, cause);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost);
  }
}

/** Neighbouring tensors as one read, and each byte once; sorted by place, small gaps (other tensors) not bridged. */
export function mergeRanges(ranges: readonly ReadRequest[]): ReadRequest[] {
  const sorted = ranges.map(({ file, offset, length }) => ({ file, offset, length })).sort(byPlace);
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
