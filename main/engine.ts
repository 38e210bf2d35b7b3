import { requestSchema, type EngineEvent } from './contract/job.ts';
import { I2lError } from './contract/errors.ts';
import { parentOf } from './engine-parent.ts';
import { runJob } from './pipelines/run-job.ts';

/**
 * The compute process: one job over a message channel, then it ends and gives all its memory back. Native
 * code that blocks or crashes does so here, and not in the window or the server.
 */
const cancelled = new AbortController();
const parent = parentOf(process, {
  onMessage: (message) => {
    const request = requestSchema.safeParse(message);
    if (!request.success) {
      fail(new I2lError('ENGINE_PROTOCOL', `The engine was sent something that is not a request: ${request.error.message}`));
    } else if (request.data.type === 'cancel') {
      cancelled.abort();
    } else {
      void work(request.data.job);
    }
  },
  // Nobody waits for the result, so stop, and leave nothing half-written.
  onGone: () => cancelled.abort(),
});

// Ctrl-C reaches the whole terminal group; the parent decides what it means and says so over the channel.
process.on('SIGINT', () => undefined);

async function work(job: Parameters<typeof runJob>[1]): Promise<void> {
  try {
    parent.finish(await runJob({ emit: (event: EngineEvent) => parent.send(event), signal: cancelled.signal }, job));
  } catch (error) {
    fail(I2lError.from(error));
  }
}

function fail(error: I2lError): void {
  parent.finish({ type: 'failed', error: error.toShape() });
}
