import { I2lError } from '../../contract/errors.ts';
import { networkError, shownUrl, type HttpResponse } from './http.ts';

/** A connection that brings fewer than `leastBytes` in `stallMs` of waiting for it is given up. */
export interface StallTimes {
  readonly stallMs: number;
  readonly leastBytes: number;
}

export const STALL_TIMES: StallTimes = { stallMs: 30_000, leastBytes: 16 * 1024 };

/**
 * The body of an answer in pieces as they come. Only waiting for the network counts as a stall, not what the
 * reader does between two pieces.
 * @throws I2lError HUB_UNREACHABLE (cut or stalled), CANCELLED
 */
export async function* chunksOf(
  response: HttpResponse,
  { stallMs, leastBytes }: StallTimes,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const iterator = response.body[Symbol.asyncIterator]();
  let waited = 0;
  let bytes = 0;
  try {
    for (;;) {
      const start = performance.now();
      const timer = setTimeout(() => response.body.destroy(stalled(response.url, stallMs)), Math.max(1, stallMs - waited));
      const { done, value } = await iterator.next().finally(() => clearTimeout(timer));
      if (done) return;
      waited += performance.now() - start;
      bytes += value.length;
      if (bytes >= leastBytes) waited = bytes = 0;
      yield value;
    }
  } catch (error) {
    throw networkError(response.url, error, signal);
  } finally {
    response.body.destroy();
  }
}

function stalled(url: string, stallMs: number): I2lError {
  const source = shownUrl(url);
  const message = `${source}: nothing came for ${Math.round(stallMs / 1000)} s.`;
  return new I2lError('HUB_UNREACHABLE', message, { source, transient: true, stalled: true });
}
