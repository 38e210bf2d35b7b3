import { ORPCError } from '@orpc/server';
import { I2lError } from '../contract/errors.ts';
import type { ImportProgress } from '../contract/library-values.ts';
import { errorData } from '../contract/wire-errors.ts';

/** How often a listener is told at most. */
const STEP_MS = 50;

type OnProgress = (done: number, total: number) => void;

/**
 * A procedure that takes long, as a stream: how far it has come, the latest alone, and its result last. It is
 * cancelled when nobody listens any more. An error after the first event passes no middleware, so it is made
 * ready for the wire here.
 */
export async function* withProgress<Result>(
  work: (options: { readonly signal: AbortSignal; readonly onProgress: OnProgress }) => Promise<Result>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ImportProgress | Result, void> {
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let latest: ImportProgress | undefined;
  let finished = false;
  const running = work({ signal: both, onProgress: (done, total) => (latest = { type: 'progress', done, total }) });
  // Awaited below; without this a failure while the listener is slow would count as unhandled.
  const settled = running.then(
    () => (finished = true),
    () => (finished = true),
  );
  try {
    while (!finished) {
      await Promise.race([settled, pause(STEP_MS)]);
      if (latest) yield latest;
      latest = undefined;
    }
    yield await running;
  } catch (thrown) {
    const error = I2lError.from(thrown);
    throw new ORPCError(error.code, { message: error.message, data: errorData(error), cause: error });
  } finally {
    stop.abort();
    await settled;
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
