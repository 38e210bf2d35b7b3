import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { I2lError } from '../contract/errors.ts';
import { readInto } from './placed-reads.ts';
import type { ReaderReport, ReaderTask, ReadRequest } from './reader.ts';

/**
 * The reader thread: brings the next stage's bytes while this one computes. Those that are fed to a graph it reads into the
 * buffer that it is handed. Of a file that the runtime maps it reads them into the system's cache and drops them; the
 * runtime finds them there.
 */
const CHUNK = 2 << 20;
/** Faster than any disk: the chunk is in memory already, and reading it again would only take a core. */
const CACHED_BYTES_PER_MS = 3_500_000;
/** Of each chunk, read first to see whether it is in memory. */
const PROBE_BYTES = 128 << 10;

const scratch = Buffer.allocUnsafe(CHUNK);

function warmRange({ file, offset, length }: ReadRequest): { bytes: number; ms: number } {
  const started = performance.now();
  const fd = openSync(file, 'r');
  let bytes = 0;
  try {
    for (let at = 0; at < length; at += CHUNK) bytes += warmChunk(fd, offset + at, Math.min(CHUNK, length - at));
  } finally {
    closeSync(fd);
  }
  return { bytes, ms: performance.now() - started };
}

/** @returns bytes that were read */
function warmChunk(fd: number, offset: number, length: number): number {
  const probe = Math.min(PROBE_BYTES, length);
  const started = performance.now();
  const got = readSync(fd, scratch, 0, probe, offset);
  if (got / (performance.now() - started) > CACHED_BYTES_PER_MS) return got;
  return got + readSync(fd, scratch, 0, length - probe, offset + probe);
}

function warm(request: ReadRequest): ReaderReport {
  try {
    return { warmed: warmRange(request) };
  } catch (error) {
    // The stage that maps this file reports its loss by name; here only the head start is lost.
    return { warmed: { bytes: 0, ms: 0, error: String(error) } };
  }
}

function load({ load: reads, buffer }: Extract<ReaderTask, { load: unknown }>): ReaderReport {
  const started = performance.now();
  try {
    readInto(buffer, reads);
    return { loaded: reads.reduce((sum, { length }) => sum + length, 0), ms: performance.now() - started };
  } catch (error) {
    return { loaded: 0, ms: performance.now() - started, error: I2lError.from(error).toShape() };
  }
}

parentPort?.on('message', (task: ReaderTask) => {
  if ('load' in task) parentPort?.postMessage(load(task));
  else if ('warm' in task) for (const request of task.warm) parentPort?.postMessage(warm(request));
  else globalThis.gc?.();
});
