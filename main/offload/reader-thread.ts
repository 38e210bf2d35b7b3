import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import type { ReadRequest, ReadReport } from './reader.ts';

/**
 * The reader thread: reads the next stage's bytes into the system's cache while this one computes. The
 * bytes themselves are dropped; the runtime maps the file and finds them there.
 */
const CHUNK = 2 << 20;
/** Faster than any disk: the range is in memory already, and reading it again would only take a core. */
const CACHED_BYTES_PER_MS = 3_500_000;
const PROBE_BYTES = 2 << 20;

const scratch = Buffer.allocUnsafe(CHUNK);

function readRange({ file, offset, length }: ReadRequest): ReadReport {
  const started = performance.now();
  const fd = openSync(file, 'r');
  let done = 0;
  try {
    while (done < length) {
      const got = readSync(fd, scratch, 0, Math.min(CHUNK, length - done), offset + done);
      if (got === 0) break;
      done += got;
      if (done >= PROBE_BYTES && done / (performance.now() - started) > CACHED_BYTES_PER_MS) break;
    }
  } finally {
    closeSync(fd);
  }
  return { bytes: done, ms: performance.now() - started };
}

parentPort?.on('message', (requests: readonly ReadRequest[]) => {
  for (const request of requests) {
    try {
      parentPort?.postMessage(readRange(request));
    } catch (error) {
      // The stage that maps this file reports its loss by name; here only the head start is lost.
      parentPort?.postMessage({ bytes: 0, ms: 0, error: String(error) } satisfies ReadReport);
    }
  }
});
