import { I2lError } from '../contract/errors.ts';
import type { Note } from '../contract/notes.ts';
import type { QueueProgress } from '../contract/queue.ts';
import type { Clock } from './clock.ts';
import { averageRate } from './eta.ts';
import { RunProgress } from './progress.ts';
import { isStop, stopped, type AnyRunner, type JobContext, type Journal, type ProgressUpdate, type StopReason } from './runner.ts';
import type { JobChange, JobRow, JobStore } from './store.ts';

/** How a run came to its end: events of transitions.ts with what they carry. */
export type Outcome =
  | { readonly event: 'done'; readonly result: unknown }
  | { readonly event: 'fail'; readonly error: I2lError }
  | { readonly event: 'stop' | 'release' };

export interface RunOptions {
  readonly store: JobStore;
  readonly clock: Clock;
  readonly onProgress: (run: ActiveRun) => void;
  /** A step is finished: it is no suspect any more. */
  readonly onStep: (run: ActiveRun) => void;
  readonly onLog: (run: ActiveRun, note: Note) => void;
}

/** One run of one job, from its start until it is at rest; afterwards it answers its runner no more. */
export class ActiveRun {
  readonly id: number;
  readonly lane: JobRow['lane'];
  /** How often in a row the process died under this job before. */
  crashes: number;
  readonly #options: RunOptions;
  readonly #stop = new AbortController();
  readonly #meter: RunProgress;
  readonly #before: number;
  readonly #started: number;
  /** Of an earlier run, until this one says something. */
  readonly #progress: QueueProgress | null;
  #ended = false;

  constructor(row: JobRow, options: RunOptions) {
    this.id = row.id;
    this.lane = row.lane;
    this.crashes = row.crashes;
    this.#options = options;
    this.#meter = new RunProgress(options.store.rates());
    this.#before = row.runSeconds;
    this.#started = options.clock.seconds();
    this.#progress = row.progress;
  }

  /** What to write down of it from time to time. */
  get change(): Required<Pick<JobChange, 'progress' | 'runSeconds'>> {
    const now = this.#options.clock.seconds();
    return { progress: this.#meter.at(now) ?? this.#progress, runSeconds: this.#before + now - this.#started };
  }

  /** Only the first reason is told; the runner is on its way out after that. */
  stop(reason: StopReason): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(stopped(reason));
  }

  /** Never rejects. */
  async work(runnerOf: (kind: string) => AnyRunner, row: JobRow): Promise<Outcome> {
    try {
      const runner = runnerOf(row.kind);
      const result: unknown = await runner.run(parseInput(runner, row.input), this.#context());
      return { event: 'done', result: asJson(result) };
    } catch (error) {
      if (!isStop(error, this.#stop.signal)) return { event: 'fail', error: I2lError.from(error) };
      return { event: this.#stop.signal.aborted ? 'release' : 'stop' };
    } finally {
      this.#ended = true;
    }
  }

  /** Rates that this run measured go into the table. */
  saveRates(): void {
    const { store } = this.#options;
    const rates = store.rates();
    for (const measured of this.#meter.measured()) {
      const rate = averageRate(rates.get(measured.kind), measured);
      if (rate !== undefined) store.putRate(measured.kind, rate);
    }
  }

  #context(): JobContext {
    return {
      jobId: this.id,
      signal: this.#stop.signal,
      progress: (update) => this.#update(update),
      log: (note) => {
        if (!this.#ended) this.#options.onLog(this, note);
      },
      journal: this.#journal(),
    };
  }

  #journal(): Journal {
    const { store } = this.#options;
    return {
      done: (key) => store.step(this.id, key) !== undefined,
      get: (key) => store.step(this.id, key)?.value,
      finish: (key, value, record) => {
        if (this.#ended) throw new I2lError('INTERNAL', `Job ${this.id} finished the step "${key}" after its end.`);
        store.transaction(() => {
          record?.();
          store.putStep(this.id, { key, value: asJson(value) });
          store.update(this.id, { ...this.change, crashes: 0 });
        });
        this.crashes = 0;
        this.#options.onStep(this);
      },
    };
  }

  #update(update: ProgressUpdate): void {
    if (this.#ended) return;
    this.#meter.update(update, this.#options.clock.seconds());
    this.#options.onProgress(this);
  }
}

/** @throws I2lError BAD_ARGUMENT */
export function parseInput({ kind, inputSchema }: AnyRunner, input: unknown): unknown {
  const parsed = inputSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.') ?? '';
  throw new I2lError(
    'BAD_ARGUMENT',
    `A job of the kind "${kind}" can't be made of this input: ${where === '' ? '' : `${where}: `}${issue?.message ?? 'invalid'}.`,
    { kind, at: where },
    parsed.error,
  );
}

/** What comes back from the store after it was written there. @throws I2lError INTERNAL if it is no JSON */
export function asJson(value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value ?? null));
  } catch (error) {
    throw new I2lError('INTERNAL', 'A job came to a result that is not JSON.', {}, error);
  }
}
