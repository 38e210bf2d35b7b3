import { hasEnded, type JobView, type QueueEvent, type QueueProgress, type QueueView } from '../contract/queue.ts';

/** At most 20 events a second to each listener. */
export const EVENT_INTERVAL_MS = 50;

/**
 * The state of all jobs, and one stream of its changes for any number of listeners. Each first gets
 * everything, then at most {@link EVENT_INTERVAL_MS} apart what changed meanwhile: a slow one gets fewer
 * events, not older ones, and holds up nobody.
 */
export class QueueEvents {
  readonly #jobs = new Map<number, JobView>();
  readonly #listeners = new Set<Listener>();
  readonly #interval: number;
  #queue: QueueView = { paused: false, problem: null };

  /** @param interval milliseconds between two events to the same listener */
  constructor(interval = EVENT_INTERVAL_MS) {
    this.#interval = interval;
  }

  get queue(): QueueView {
    return this.#queue;
  }

  jobs(): JobView[] {
    return [...this.#jobs.values()];
  }

  job(id: number): JobView | undefined {
    return this.#jobs.get(id);
  }

  publish(job: JobView): void {
    this.#jobs.set(job.id, job);
    for (const listener of this.#listeners) listener.changed(job);
  }

  progress(id: number, progress: QueueProgress | null, runSeconds: number): void {
    const job = this.#jobs.get(id);
    if (job) this.publish({ ...job, progress, runSeconds });
  }

  remove(id: number): void {
    this.#jobs.delete(id);
    for (const listener of this.#listeners) listener.gone(id);
  }

  setQueue(queue: QueueView): void {
    this.#queue = queue;
    for (const listener of this.#listeners) listener.queueChanged(queue);
  }

  /** Ends when `signal` is aborted, or by return() from whoever reads it. */
  watch(signal?: AbortSignal): AsyncIteratorObject<QueueEvent, undefined> {
    const listener = new Listener(this.#interval, () => ({ type: 'snapshot', jobs: this.jobs(), queue: this.#queue }));
    this.#listeners.add(listener);
    const end = (): void => {
      signal?.removeEventListener('abort', end);
      this.#listeners.delete(listener);
      listener.end();
    };
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted) end();
    return iteratorOf(listener, end);
  }
}

/** By hand, since a generator that waits for its next event can't be returned from meanwhile. */
function iteratorOf(listener: Listener, end: () => void): AsyncIteratorObject<QueueEvent, undefined> {
  const finish = (): Promise<IteratorReturnResult<undefined>> => {
    end();
    return Promise.resolve({ done: true, value: undefined });
  };
  const iterator = {
    next: () => listener.next(),
    return: finish,
    [Symbol.asyncIterator]: () => iterator,
    [Symbol.asyncDispose]: async () => void (await finish()),
  };
  return iterator;
}

/** What one listener has not been told yet: never more than two states a job. */
class Listener {
  readonly #interval: number;
  readonly #snapshot: () => QueueEvent;
  readonly #latest = new Map<number, JobView>();
  /** Ended, and since then run again or removed. */
  readonly #ended = new Map<number, JobView>();
  readonly #gone = new Set<number>();
  #queue: QueueView | undefined;
  #told = Number.NEGATIVE_INFINITY;
  #wake: (() => void) | undefined;
  #hurry: (() => void) | undefined;
  #over = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(interval: number, snapshot: () => QueueEvent) {
    this.#interval = interval;
    this.#snapshot = snapshot;
  }

  changed(job: JobView): void {
    if (this.#isNew()) return;
    this.#keepEnd(job.id, job);
    this.#gone.delete(job.id);
    this.#latest.set(job.id, job);
    this.#wake?.();
  }

  gone(id: number): void {
    if (this.#isNew()) return;
    this.#keepEnd(id);
    this.#latest.delete(id);
    this.#gone.add(id);
    this.#wake?.();
  }

  queueChanged(queue: QueueView): void {
    if (this.#isNew()) return;
    this.#queue = queue;
    this.#wake?.();
  }

  end(): void {
    this.#over = true;
    this.#wake?.();
    this.#hurry?.();
  }

  /** One after the other, even if the reader doesn't wait. */
  next(): Promise<IteratorResult<QueueEvent, undefined>> {
    const event = this.#reading.then(() => this.#read());
    this.#reading = event;
    return event;
  }

  async #read(): Promise<IteratorResult<QueueEvent, undefined>> {
    const first = this.#isNew();
    if (!first) await this.#untilDue();
    while (!this.#over && !first && this.#isEmpty()) await this.#woken();
    if (this.#over) return { done: true, value: undefined };
    this.#told = performance.now();
    return { done: false, value: first ? this.#snapshot() : this.#take() };
  }

  /** The snapshot will say it all. */
  #isNew(): boolean {
    return this.#told === Number.NEGATIVE_INFINITY;
  }

  #isEmpty(): boolean {
    return this.#latest.size === 0 && this.#ended.size === 0 && this.#gone.size === 0 && this.#queue === undefined;
  }

  #keepEnd(id: number, next?: JobView): void {
    const pending = this.#latest.get(id);
    if (pending && hasEnded(pending.state) && pending.state !== next?.state) this.#ended.set(id, pending);
  }

  #take(): QueueEvent {
    const event = {
      type: 'change' as const,
      jobs: [...this.#ended.values(), ...this.#latest.values()],
      removed: [...this.#gone],
      ...(this.#queue && { queue: this.#queue }),
    };
    this.#latest.clear();
    this.#ended.clear();
    this.#gone.clear();
    this.#queue = undefined;
    return event;
  }

  /** Changes meanwhile wake nobody; only the end does. */
  async #untilDue(): Promise<void> {
    let wait = this.#told + this.#interval - performance.now();
    while (wait > 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait);
        this.#hurry = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      wait = this.#told + this.#interval - performance.now();
    }
    this.#hurry = undefined;
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
