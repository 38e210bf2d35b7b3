import { fork } from 'node:child_process';
import { eventSchema, type EngineEvent, type EngineRequest, type JobResult } from './contract/engine.ts';
import { outputsOf, type Job } from './contract/job.ts';
import { I2lError } from './contract/errors.ts';
import { NO_TELEMETRY } from './onnx/no-telemetry.ts';
import { removeStaleParts, removeStalePartsIn } from './weights/stale-files.ts';

export interface EngineRun {
  readonly onEvent: (event: EngineEvent) => void;
  readonly signal?: AbortSignal;
  /** For tests that kill it. */
  readonly onStart?: (pid: number) => void;
  /** An engine that says nothing for so long hangs, in a device's driver say, and is killed. Without it there is no limit. */
  readonly silenceMs?: number | undefined;
}

/** How an engine's process ended. */
export interface EngineEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The end of what it printed to stderr: of a crash in native code the only trace. */
  readonly stderr: string;
  /** Set where there never was a process. */
  readonly notStarted?: Error;
}

export interface EngineListener {
  readonly onStart: (pid: number) => void;
  readonly onMessage: (message: unknown) => void;
  /** Comes once, and last. */
  readonly onEnd: (end: EngineEnd) => void;
}

/** A process that runs engine.ts. */
export interface EngineProcess {
  readonly pid: number | undefined;
  /** Does nothing once the process has ended. */
  send(request: EngineRequest): void;
  kill(): void;
  /** Its answer has come: it may end. */
  release(answer: EngineEvent): void;
}

/** Starts engine.ts with this environment; Electron has a way of its own. */
export type StartEngineProcess = (env: NodeJS.ProcessEnv, listener: EngineListener) => EngineProcess;

/**
 * What keeps the engine's process small: short-lived values of JavaScript get little room, the garbage collector can be
 * called when large buffers are no longer used, and glibc has one pool of memory
 * for all threads, not one each that holds on to what was freed; what is larger than 8 MiB goes back to the system. It then
 * comes in pages of 2 MiB: two threads that fetch pages of 4 KiB for activations of tens of megabytes wait for each other
 * (Qwen2.5-VL's large picture took 65 s, and takes 42).
 */
export const ENGINE_ARGUMENTS: readonly string[] = ['--max-semi-space-size=2', '--expose-gc'];
export const ENGINE_ENVIRONMENT = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(8 << 20),
  GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1',
};

/**
 * Runs a job in a compute process of its own.
 * @throws I2lError what the job failed with; ENGINE_CRASHED as soon as the process dies without an answer,
 * its half-written files removed
 */
export async function runInEngine(
  job: Job,
  { onEvent, signal, onStart, silenceMs }: EngineRun,
  start: StartEngineProcess = forkEngine,
): Promise<JobResult> {
  let cancel: () => void = () => undefined;
  const silence = new Silence(silenceMs);
  try {
    return await new Promise<JobResult>((resolve, reject) => {
      const listener = { onEvent, onStart, resolve, reject, silence, isAborted: () => signal?.aborted === true };
      const engine = start(
        { ...ENGINE_ENVIRONMENT, ...process.env, ...NO_TELEMETRY },
        listenerOf(job, listener, () => engine),
      );
      silence.begin(() => engine.kill());
      cancel = () => engine.send({ type: 'cancel' });
      signal?.addEventListener('abort', cancel, { once: true });
      engine.send({ type: 'run', job });
      if (signal?.aborted) cancel();
    });
  } finally {
    silence.end();
    signal?.removeEventListener('abort', cancel);
  }
}

/** Waits for a word; what was begun is done when none comes in time. */
class Silence {
  readonly #limit: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  isTooLong = false;

  constructor(limit: number | undefined) {
    this.#limit = limit;
  }

  begin(onTooLong: () => void): void {
    if (this.#limit === undefined) return;
    this.#timer = setTimeout(() => {
      this.isTooLong = true;
      onTooLong();
    }, this.#limit);
  }

  word(): void {
    this.#timer?.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  get seconds(): number {
    return (this.#limit ?? 0) / 1000;
  }
}

interface Answer {
  readonly onEvent: EngineRun['onEvent'];
  readonly onStart: EngineRun['onStart'] | undefined;
  readonly resolve: (result: JobResult) => void;
  readonly reject: (error: I2lError) => void;
  readonly silence: Silence;
  readonly isAborted: () => boolean;
}

function listenerOf(
  job: Job,
  { onEvent, onStart, resolve, reject, silence, isAborted }: Answer,
  engine: () => EngineProcess,
): EngineListener {
  let answered = false;
  return {
    onStart: (pid) => onStart?.(pid),
    onMessage: (message) => {
      silence.word();
      const event = eventSchema.safeParse(message);
      if (!event.success) {
        engine().kill();
        reject(new I2lError('ENGINE_PROTOCOL', `The engine sent something that is not an event: ${event.error.message}`));
        return;
      }
      if (event.data.type !== 'done' && event.data.type !== 'failed') return onEvent(event.data);
      answered = true;
      engine().release(event.data);
      if (event.data.type === 'done') resolve(event.data);
      else reject(I2lError.fromShape(event.data.error));
    },
    onEnd: (end) => {
      if (answered) return;
      const { pid } = engine();
      if (pid !== undefined) removeHalfWritten(job, pid);
      reject(silence.isTooLong ? hangError(silence) : endError(end, isAborted()));
    },
  };
}

/** What a dead engine left of the job's files, and of copies that it made on the way. */
function removeHalfWritten(job: Job, pid: number): void {
  for (const output of outputsOf(job)) removeStaleParts(output, pid);
  if ('eightBit' in job && job.eightBit) removeStalePartsIn(job.eightBit.folder, pid);
}

function hangError({ seconds }: Silence): I2lError {
  const message = `The engine was ended: nothing was heard of it for ${seconds} s; what it had half written is removed.`;
  return new I2lError('ENGINE_CRASHED', message, { silentSeconds: seconds });
}

function endError({ code, signal, stderr, notStarted }: EngineEnd, aborted: boolean): I2lError {
  if (notStarted) return new I2lError('ENGINE_CRASHED', `The engine could not be started: ${notStarted.message}`, {}, notStarted);
  // Ctrl-C in a terminal reaches an engine that is too young to leave it to us; so does a service's SIGTERM.
  if (aborted || signal === 'SIGINT') return new I2lError('CANCELLED', 'The job was cancelled.');
  const how = signal === null ? `with code ${code ?? 'unknown'}` : `by ${signal}`;
  const hint = signal === 'SIGKILL' ? ' The system may have run out of memory; try a smaller --memory.' : '';
  return new I2lError(
    'ENGINE_CRASHED',
    `The engine stopped ${how} before it was done; what it had half written is removed.${hint}`,
    {
      ...(code === null ? {} : { exitCode: code }),
      ...(signal === null ? {} : { signal }),
      stderr,
    },
  );
}

/** As a child of Node. */
export function forkEngine(env: NodeJS.ProcessEnv, { onStart, onMessage, onEnd }: EngineListener): EngineProcess {
  const execArgv = [...process.execArgv, ...ENGINE_ARGUMENTS];
  const child = fork(new URL('./engine.ts', import.meta.url), { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv, env });
  const stderr = new Tail();
  child.stderr?.setEncoding('utf8').on('data', (text: string) => stderr.add(text));
  child.on('message', onMessage);
  child.on('error', (error) => {
    // A message that no longer reaches a process which has started: its end says more.
    if (child.pid === undefined) onEnd({ code: null, signal: null, stderr: '', notStarted: error });
  });
  // Its last word may lie in the channel yet when its end is known.
  let ended: Pick<EngineEnd, 'code' | 'signal'> | undefined;
  const end = (): void => {
    if (ended && !child.connected) onEnd({ ...ended, stderr: stderr.text });
  };
  child.on('disconnect', end);
  child.on('exit', (code, signal) => {
    ended = { code, signal };
    end();
  });
  if (child.pid !== undefined) onStart(child.pid);
  return {
    pid: child.pid,
    send: (request) => void (child.connected && child.send(request)),
    kill: () => void child.kill('SIGKILL'),
    release: () => void (child.connected && child.disconnect()),
  };
}

const TAIL_LENGTH = 4096;

/** The end of a long text that comes in pieces. */
export class Tail {
  #text = '';

  add(text: string): void {
    this.#text = (this.#text + text).slice(-TAIL_LENGTH);
  }

  get text(): string {
    return this.#text.trim();
  }
}
