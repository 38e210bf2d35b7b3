import { requestSchema, type EngineEvent } from './contract/engine.ts';
import { I2lError } from './contract/errors.ts';
import { formatBytes } from './contract/format-bytes.ts';
import { note } from './contract/notes.ts';
import { parentOf } from './engine-parent.ts';
import { KeeperOverfull, runJob, WeightKeeper } from './pipelines/run-job.ts';

/**
 * The compute process: one job over a message channel, then it ends and gives all its memory back. Native
 * code that blocks or crashes does so here, and not in the window or the server. Where the next job would find
 * something that this one has left, and who started it says so, it waits for that: of a job that failed, nothing is left.
 */
const keeper = new WeightKeeper();
let running: AbortController | undefined;

const parent = parentOf(process, {
  onMessage: (message) => {
    const request = requestSchema.safeParse(message);
    if (!request.success) {
      fail(new I2lError('ENGINE_PROTOCOL', `The engine was sent something that is not a request: ${request.error.message}`));
    } else if (request.data.type === 'cancel') {
      running?.abort();
    } else if (running) {
      fail(new I2lError('ENGINE_PROTOCOL', 'The engine was sent a job while it works on another.'));
    } else {
      void work(request.data.job, request.data.stays === true);
    }
  },
  // Nobody waits for the result, so stop, and leave nothing half-written.
  onGone: () => (running ? running.abort() : process.exit()),
});

// Ctrl-C reaches the whole terminal group; the parent decides what it means and says so over the channel.
process.on('SIGINT', () => undefined);

async function work(job: Parameters<typeof runJob>[1], stays: boolean): Promise<void> {
  running = new AbortController();
  const emit = (event: EngineEvent): void => parent.send(event);
  try {
    const result = await runJob({ emit, signal: running.signal, ...(stays ? { keeper } : {}) }, job);
    if (!result.resident) return parent.finish(result);
    const { bytes } = result.resident;
    emit({
      type: 'note',
      ...note('WEIGHTS_KEPT', `The next job finds ${formatBytes(bytes)} of encoders in memory.`, { bytes }),
    });
    running = undefined;
    parent.send(result);
  } catch (error) {
    // Without a word: who keeps engines gives the job to a fresh one then.
    if (error instanceof KeeperOverfull) process.exit();
    fail(I2lError.from(error));
  }
}

function fail(error: I2lError): void {
  parent.finish({ type: 'failed', error: error.toShape() });
}
