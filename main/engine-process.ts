import { fork, type ChildProcess } from 'node:child_process';
import { eventSchema, outputsOf, type EngineEvent, type EngineRequest, type Job, type JobResult } from './contract/job.ts';
import { I2lError } from './contract/errors.ts';
import { NO_TELEMETRY } from './onnx/no-telemetry.ts';
import { removeStaleParts } from './weights/stale-files.ts';

export interface EngineRun {
  readonly onEvent: (event: EngineEvent) => void;
  readonly signal?: AbortSignal;
  /** For tests that kill it. */
  readonly onStart?: (pid: number) => void;
}

const STDERR_KEPT = 4096;

/**
 * Runs a job in a compute process of its own.
 * @throws I2lError what the job failed with; ENGINE_CRASHED as soon as the process dies without an answer,
 * its half-written files removed
 */
export async function runInEngine(job: Job, { onEvent, signal, onStart }: EngineRun): Promise<JobResult> {
  const child = fork(new URL('./engine.ts', import.meta.url), {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, ...NO_TELEMETRY },
  });
  const stderr = keepTail(child);
  const cancel = (): void => send(child, { type: 'cancel' });
  signal?.addEventListener('abort', cancel, { once: true });
  if (child.pid !== undefined) onStart?.(child.pid);
  try {
    send(child, { type: 'run', job });
    if (signal?.aborted) cancel();
    return await answerOf(child, job, onEvent, () => crash(child, stderr(), signal?.aborted));
  } finally {
    signal?.removeEventListener('abort', cancel);
    if (child.connected) child.disconnect();
  }
}

function answerOf(
  child: ChildProcess,
  job: Job,
  onEvent: (event: EngineEvent) => void,
  noAnswer: () => I2lError,
): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    let answered = false;
    child.on('message', (message) => {
      const event = eventSchema.safeParse(message);
      if (!event.success) {
        child.kill('SIGKILL');
        reject(new I2lError('ENGINE_PROTOCOL', `The engine sent something that is not an event: ${event.error.message}`));
        return;
      }
      if (event.data.type === 'done' || event.data.type === 'failed') answered = true;
      if (event.data.type === 'done') resolve(event.data);
      else if (event.data.type === 'failed') reject(I2lError.fromShape(event.data.error));
      else onEvent(event.data);
    });
    child.on('error', (error) => {
      // A message that no longer reaches a process which has started: its end says more.
      if (child.pid !== undefined) return;
      reject(new I2lError('ENGINE_CRASHED', `The engine could not be started: ${error.message}`, {}, error));
    });
    child.on('exit', () => {
      if (answered) return;
      if (child.pid !== undefined) for (const output of outputsOf(job)) removeStaleParts(output, child.pid);
      reject(noAnswer());
    });
  });
}

function crash({ exitCode: code, signalCode: signal }: ChildProcess, stderr: string, aborted = false): I2lError {
  // Ctrl-C in a terminal reaches an engine that is too young to leave it to us; so does a service's SIGTERM.
  if (aborted || signal === 'SIGINT') return new I2lError('CANCELLED', 'The job was cancelled.');
  const how = signal === null ? `with code ${code ?? 'unknown'}` : `by ${signal}`;
  const hint = signal === 'SIGKILL' ? ' The system may have run out of memory; try a smaller --memory.' : '';
  return new I2lError('ENGINE_CRASHED', `The engine stopped ${how} before it was done; nothing was written.${hint}`, {
    ...(code === null ? {} : { exitCode: code }),
    ...(signal === null ? {} : { signal }),
    stderr,
  });
}

function send(child: ChildProcess, request: EngineRequest): void {
  if (child.connected) child.send(request);
}

/** The end of what native code printed: the only trace of a crash. */
function keepTail(child: ChildProcess): () => string {
  let tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-STDERR_KEPT);
  });
  return () => tail.trim();
}
