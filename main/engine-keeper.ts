import type { EngineEvent, EngineRequest } from './contract/engine.ts';
import type { Job } from './contract/job.ts';
import { forkEngine, type EngineListener, type EngineProcess, type StartEngineProcess } from './engine-process.ts';

/** Longer than it takes to look at a LoRA and to ask for another. */
const IDLE_MS = 5 * 60_000;

/** Jobs that leave weights in memory, and find them. */
const KEEPING: ReadonlySet<Job['kind']> = new Set(['create', 'encode', 'decode']);
/** Jobs that run beside any other, and so beside an engine that waits. */
const BESIDE: ReadonlySet<Job['kind']> = new Set(['spectrum', 'diff', 'check-device']);

/** A process that is given several jobs, one after the other. */
interface Lasting {
  readonly engine: EngineProcess;
  /** Of the job that it works on. */
  listener: EngineListener;
}

interface Waiting extends Lasting {
  /** The last one: what is kept is of use to its device and threads, and leaves room within its memory. */
  readonly job: Job;
  readonly timer: NodeJS.Timeout;
  readonly ended: Promise<unknown>;
}

export interface EngineKeeperOptions {
  readonly start?: StartEngineProcess | undefined;
  /** Whether the user wants it, at this moment. */
  readonly isOn?: () => boolean;
  readonly idleMs?: number;
}

/**
 * Keeps an engine that has left something for the next job: at most one, for some minutes. A job that fails or is
 * cancelled ends its engine, as it does without this.
 */
export class EngineKeeper {
  readonly #start: StartEngineProcess;
  readonly #isOn: () => boolean;
  readonly #idleMs: number;
  #waiting: Waiting | undefined;
  #isClosed = false;

  constructor({ start = forkEngine, isOn = () => true, idleMs = IDLE_MS }: EngineKeeperOptions = {}) {
    this.#start = start;
    this.#isOn = isOn;
    this.#idleMs = idleMs;
  }

  /** Where a job's engine comes from, and where it goes when the job is done. */
  starterFor(job: Job): StartEngineProcess {
    if (BESIDE.has(job.kind)) return this.#start;
    return (env, listener) => {
      const waiting = this.#take(job);
      if (!KEEPING.has(job.kind) || !this.#isOn()) return this.#start(env, listener);
      const fresh = (): Lasting => startLasting(this.#start, env, listener);
      return new Lease({ waiting, fresh, listener, keep: (lasting, answer) => this.#keep(job, lasting, answer) });
    };
  }

  /** Ends the engine that waits, if there is one. @returns once it has ended */
  async end(): Promise<void> {
    const waiting = this.#forget();
    // It holds nothing but memory.
    waiting?.engine.kill();
    await waiting?.ended;
  }

  /** The same, and from now on none is kept. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.end();
  }

  #take(job: Job): Waiting | undefined {
    const waiting = this.#forget();
    if (!waiting || (this.#isOn() && suits(waiting.job, job))) return waiting;
    waiting.engine.kill();
    return undefined;
  }

  #forget(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    clearTimeout(waiting?.timer);
    return waiting;
  }

  #keep(job: Job, lasting: Lasting, answer: EngineEvent): void {
    if (this.#isClosed || !this.#isOn()) return lasting.engine.release(answer);
    void this.end();
    const { promise: ended, resolve } = Promise.withResolvers<unknown>();
    const timer = setTimeout(() => void this.end(), this.#idleMs);
    this.#waiting = Object.assign(lasting, { job, timer, ended });
    lasting.listener = {
      onStart: () => undefined,
      // Nobody asked it anything.
      onMessage: () => lasting.engine.kill(),
      onEnd: () => {
        if (this.#waiting === lasting) this.#forget();
        resolve(undefined);
      },
    };
  }
}

function suits(last: Job, next: Job): boolean {
  const isSame = KEEPING.has(next.kind) && next.device === last.device && next.threads === last.threads;
  return isSame && next.memory >= last.memory && (next.vram ?? Infinity) >= (last.vram ?? Infinity);
}

function startLasting(start: StartEngineProcess, env: NodeJS.ProcessEnv, listener: EngineListener): Lasting {
  const current = { listener };
  const engine = start(env, {
    onStart: (pid) => current.listener.onStart(pid),
    onMessage: (message) => current.listener.onMessage(message),
    onEnd: (end) => current.listener.onEnd(end),
  });
  return Object.assign(current, { engine });
}

interface LeaseOptions {
  readonly waiting: Lasting | undefined;
  readonly fresh: () => Lasting;
  readonly listener: EngineListener;
  /** Takes the engine over. @param answer its last */
  readonly keep: (lasting: Lasting, answer: EngineEvent) => void;
}

/** One job's engine: the one that waits, and a fresh one if that can't take the job. */
class Lease implements EngineProcess {
  readonly #keep: LeaseOptions['keep'];
  readonly #requests: EngineRequest[] = [];
  #lasting: Lasting;
  #isKilled = false;

  constructor({ waiting, fresh, listener, keep }: LeaseOptions) {
    this.#keep = keep;
    this.#lasting = waiting ?? fresh();
    if (!waiting) return;
    waiting.listener = this.#renewing(listener, fresh);
    if (waiting.engine.pid !== undefined) listener.onStart(waiting.engine.pid);
  }

  get pid(): number | undefined {
    return this.#lasting.engine.pid;
  }

  send(request: EngineRequest): void {
    const asked = request.type === 'run' ? { ...request, stays: true } : request;
    this.#requests.push(asked);
    this.#lasting.engine.send(asked);
  }

  kill(): void {
    this.#isKilled = true;
    this.#lasting.engine.kill();
  }

  release(answer: EngineEvent): void {
    if (answer.type === 'done' && answer.resident) this.#keep(this.#lasting, answer);
    else this.#lasting.engine.release(answer);
  }

  /** An engine that waited may hold too much for this job, or have died just now: it ends without a word, and not by the job's fault. */
  #renewing(listener: EngineListener, fresh: () => Lasting): EngineListener {
    let hasSpoken = false;
    return {
      onStart: listener.onStart,
      onMessage: (message) => {
        hasSpoken = true;
        listener.onMessage(message);
      },
      onEnd: (end) => {
        if (this.#isKilled || hasSpoken) return listener.onEnd(end);
        this.#lasting = fresh();
        for (const request of this.#requests) this.#lasting.engine.send(request);
      },
    };
  }
}
