import { Worker, parentPort, type Transferable } from 'node:worker_threads';
import { I2lError, type ErrorShape } from '../contract/errors.ts';

/**
 * Work on threads of their own, for what runs on one core each: where products are small, several sessions
 * with one thread each do more than one session with several, and far more on a machine that is busy.
 */
export class Threads {
  readonly #lanes: readonly Lane[];

  /** @param script a file that calls {@link serve}; @param data what each of them finds as its workerData */
  constructor(script: URL, count: number, data?: unknown) {
    this.#lanes = Array.from({ length: count }, () => new Lane(script, data));
  }

  /** Gives work to the thread that has least to do. @throws I2lError what it failed with there */
  async perform(work: unknown): Promise<unknown> {
    const [lane] = [...this.#lanes].sort((a, b) => a.waiting - b.waiting);
    return (lane as Lane).perform(work);
  }

  /** Gives the same work to every thread. @throws I2lError as {@link perform} does */
  async performOnEach(work: unknown): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.perform(work)));
  }

  async close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }
}

type Answer = { readonly result: unknown } | { readonly error: ErrorShape };
const CLOSE = 'close';

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** One thread; it answers in the order in which it is asked. */
class Lane {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  readonly #ended: Promise<void>;
  #lost: I2lError | undefined;

  constructor(script: URL, data: unknown) {
    this.#worker = new Worker(script, { workerData: data });
    this.#worker.on('message', (answer: Answer) => {
      const { resolve, reject } = this.#waiting.shift() as Waiting;
      if ('error' in answer) reject(I2lError.fromShape(answer.error));
      else resolve(answer.result);
    });
    this.#worker.on('error', (error) => this.#lose(error));
    this.#ended = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#lose(code);
        resolve();
      });
    });
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  perform(work: unknown): Promise<unknown> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(work);
    });
  }

  /** Lets it finish what it does: native code that is cut off midway may take the process with it. */
  async close(): Promise<void> {
    this.#worker.postMessage(CLOSE);
    await this.#ended;
  }

  #lose(reason: unknown): void {
    const why = reason instanceof Error ? reason.message : `it ended with code ${String(reason)}`;
    this.#lost ??= new I2lError('INTERNAL', `A computing thread stopped: ${why}.`, {}, reason);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost);
  }
}

/** The other end: what a thread's script calls. @param transfer what of a result is handed over and not copied */
export function serve<Work, Result>(
  perform: (work: Work) => Promise<Result>,
  transfer: (result: Result) => readonly Transferable[],
  close: () => Promise<void>,
): void {
  const port = parentPort;
  if (!port) throw new I2lError('INTERNAL', 'This file is the script of a thread.');
  let last: Promise<void> = Promise.resolve();
  port.on('message', (work: Work | typeof CLOSE) => {
    last = last.then(async () => {
      if (work === CLOSE) {
        await close();
        port.close();
        return;
      }
      try {
        const result = await perform(work as Work);
        port.postMessage({ result } satisfies Answer, transfer(result));
      } catch (error) {
        port.postMessage({ error: I2lError.from(error).toShape() } satisfies Answer);
      }
    });
  });
}
