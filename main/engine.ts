import { requestSchema, type EngineEvent } from './contract/job.ts';
import { I2lError } from './contract/errors.ts';
import { runJob } from './pipelines/run-job.ts';

/**
 * The compute process: one job over a message channel, then it ends and gives all its memory back. Native
 * code that blocks or crashes does so here, and not in the window or the server.
 */
const cancelled = new AbortController();

process.on('message', (message: unknown) => {
  const request = requestSchema.safeParse(message);
  if (!request.success) {
    fail(new I2lError('ENGINE_PROTOCOL', `The engine was sent something that is not a request: ${request.error.message}`));
  } else if (request.data.type === 'cancel') {
    cancelled.abort();
  } else {
    void work(request.data.job);
  }
});

// Ctrl-C reaches the whole terminal group; the parent decides what it means and says so over the channel.
process.on('SIGINT', () => undefined);

// The parent is gone: nobody waits for the result, so stop, and leave nothing half-written.
process.on('disconnect', () => cancelled.abort());

async function work(job: Parameters<typeof runJob>[1]): Promise<void> {
  try {
    finish(await runJob({ emit: send, signal: cancelled.signal }, job));
  } catch (error) {
    fail(I2lError.from(error));
  }
}

function fail(error: I2lError): void {
  finish({ type: 'failed', error: error.toShape() });
}

function send(event: EngineEvent): void {
  // Where the parent is gone and we don't know it yet, the callback takes the error; 'disconnect' follows.
  if (process.connected) process.send?.(event, () => undefined);
}

/** The last word: the process ends once it is delivered, whatever else might keep it. */
function finish(event: EngineEvent): void {
  if (!process.connected) process.exit();
  process.send?.(event, () => process.exit());
}
