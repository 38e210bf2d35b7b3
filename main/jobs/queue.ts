import { I2lError } from '../contract/errors.ts';
import { failureNote, type Note } from '../contract/notes.ts';
import {
  ENDED_STATES,
  hasEnded,
  OPEN_STATES,
  LANES,
  type JobDetails,
  type JobState,
  type JobView,
  type Lane,
  type LogLine,
} from '../contract/queue.ts';
import { ActiveRun, parseInput, type Outcome } from './active-run.ts';
import { systemClock, type Clock } from './clock.ts';
import { QueueEvents } from './events.ts';
import { planMove } from './order.ts';
import { changeOn, recover, type Recovery } from './rows.ts';
import type { AnyRunner } from './runner.ts';
import { detailsOf, viewOf, type JobFilter, type JobRow, type JobStore } from './store.ts';
import { cutTitle } from './title.ts';
import { nextState, type JobEvent } from './transitions.ts';

export interface QueueOptions {
  readonly store: JobStore;
  readonly runners: readonly AnyRunner[];
  /** Jobs at once in each lane. */
  readonly limits?: Readonly<Record<Lane, number>>;
  readonly clock?: Clock;
  /** A job under which the process died so often in a row, without another finished step, is failed. */
  readonly crashLimit?: number;
  /** Milliseconds until the store is tried again after it refused. */
  readonly retryMs?: number;
}

export interface NewJobRequest {
  readonly kind: string;
  readonly title: string;
  readonly input: unknown;
  readonly priority?: number;
}

const LIMITS: Readonly<Record<Lane, number>> = { engine: 1, light: 2, download: 2 };
const CRASH_LIMIT = 3;
const RETRY_MS = 1000;
/** Between two words on the time that is left. */
const TICK_MS = 1000;
/** Ended jobs of earlier processes that the events tell of; the others are in the store. */
const KNOWN_ENDED = 200;
const AT_REST = ['waiting', 'paused'] as const;
/** Seconds between two writes of a running job's progress, for readers of the store. */
const FLUSH_SECONDS = 1;

/**
 * Runs jobs, as many at once as their lanes allow. The store holds the truth at every moment: each change
 * is written before it is acted upon and told, so a process that dies anywhere is followed by one that goes
 * on from there. One process at a time may own a store.
 */
export class JobQueue {
  readonly events = new QueueEvents();
  readonly #store: JobStore;
  readonly #runners: ReadonlyMap<string, AnyRunner>;
  readonly #limits: Readonly<Record<Lane, number>>;
  readonly #clock: Clock;
  readonly #recovery: Recovery;
  readonly #retryMs: number;
  readonly #active = new Map<number, ActiveRun>();
  readonly #work = new Set<Promise<void>>();
  /** Ends of runs that the store has not taken yet. */
  readonly #outcomes = new Map<ActiveRun, Outcome>();
  readonly #flushed = new WeakMap<ActiveRun, number>();
  #open = false;
  #ticker: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor({ store, runners, limits = LIMITS, clock = systemClock, ...rest }: QueueOptions) {
    this.#store = store;
    this.#runners = new Map(runners.map((runner) => [runner.kind, runner]));
    this.#limits = limits;
    this.#clock = clock;
    this.#recovery = { crashLimit: rest.crashLimit ?? CRASH_LIMIT, clock };
    this.#retryMs = rest.retryMs ?? RETRY_MS;
  }

  /** Takes up what an earlier process left behind, and begins. @throws I2lError where the store can't be used */
  start(): void {
    recover(this.#store, this.#recovery);
    const ended = this.#store.list({ states: ENDED_STATES, limit: KNOWN_ENDED });
    for (const row of [...ended.reverse(), ...this.#store.list({ states: OPEN_STATES })]) this.events.publish(viewOf(row));
    this.events.setQueue({ paused: this.#store.paused(), problem: null });
    this.#open = true;
    this.#catchUp();
  }

  /** Stops all runs at their next safe points and waits for them; they go on when a queue is next started. */
  async close(): Promise<void> {
    this.#open = false;
    for (const run of this.#active.values()) run.stop('shutdown');
    await Promise.all(this.#work);
    clearTimeout(this.#retry);
    this.#stopTicker();
  }

  /** In the order in which they run; ended ones behind, the latest first. */
  list(filter: JobFilter = {}): JobView[] {
    return this.#store.list(filter).map((row) => this.#viewOf(row));
  }

  /** @throws I2lError JOB_NOT_FOUND */
  get(id: number): JobDetails {
    const row = this.#row(id);
    return { ...detailsOf(row, this.#store.steps(id)), ...this.#viewOf(row) };
  }

  /** @throws I2lError JOB_NOT_FOUND */
  log(id: number): LogLine[] {
    return this.#store.log(this.#row(id).id);
  }

  /** @throws I2lError JOB_KIND, BAD_ARGUMENT */
  enqueue({ kind, title, input, priority = 0 }: NewJobRequest): JobView {
    const runner = this.#runner(kind);
    const parsed = parseInput(runner, input);
    const { lane } = runner;
    const row = this.#store.insert({ kind, lane, title: cutTitle(title), input: parsed, priority, createdAt: this.#clock.now() });
    this.#tell([row]);
    return viewOf(row);
  }

  /** Stops it at its next safe point, to go on from there. @throws I2lError JOB_NOT_FOUND, JOB_STATE; so all below */
  pause(id: number): JobView {
    const row = this.#apply(id, 'pause');
    this.#active.get(id)?.stop('pause');
    return row;
  }

  resume(id: number): JobView {
    return this.#apply(id, 'resume');
  }

  cancel(id: number): JobView {
    const row = this.#apply(id, 'cancel');
    this.#active.get(id)?.stop('cancel');
    return row;
  }

  /** Runs an ended job again, at the end of the queue: from its journal, or from scratch, as a done one always is. */
  retry(id: number, { fromScratch = false } = {}): JobView {
    return this.#apply(id, 'retry', (row) => {
      const scratch = fromScratch || row.state === 'done';
      if (scratch) this.#store.clearSteps(id);
      return { position: this.#store.lastPosition(), ...(scratch && { progress: null }) };
    });
  }

  /** To the end of the queue; a paused job waits again. */
  requeue(id: number): JobView {
    return this.#apply(id, 'requeue', () => ({ position: this.#store.lastPosition() }));
  }

  setPriority(id: number, priority: number): JobView {
    const row = this.#row(id);
    if (hasEnded(row.state)) throw refused(row, 'be given a priority');
    this.#store.update(id, { priority });
    return this.#told(id);
  }

  /** Puts a waiting or paused job before another such, or last of all. */
  reorder(id: number, before: number | null): JobView {
    for (const row of [this.#row(id), ...(before === null ? [] : [this.#row(before)])]) {
      if (!isAtRest(row.state)) throw refused(row, 'be moved, nor another be put before it');
    }
    if (id === before) return viewOf(this.#row(id));
    const places = planMove(this.#store.list({ states: AT_REST }), id, before);
    this.#store.transaction(() => {
      for (const { id: other, priority, position } of places) this.#store.update(other, { priority, position });
    });
    this.#tell(places.filter((place) => place.id !== id).map((place) => this.#row(place.id)));
    return this.#told(id);
  }

  /** Forgets an ended job; files that it wrote stay. */
  remove(id: number): void {
    const row = this.#row(id);
    if (!hasEnded(row.state)) throw refused(row, 'be removed; cancel it first');
    this.#store.remove(id);
    this.events.remove(id);
  }

  /** @returns ids of the jobs that it removed */
  clearFinished(states: readonly JobState[] = ENDED_STATES): number[] {
    const ids = this.#store.removeAll(states.filter(hasEnded));
    for (const id of ids) this.events.remove(id);
    return ids;
  }

  /** Starts no more jobs, in this process and the next. Running ones finish, or with `stopRunning` go back to their place. */
  pauseQueue({ stopRunning = false } = {}): void {
    this.#store.setPaused(true);
    this.events.setQueue({ ...this.events.queue, paused: true });
    if (stopRunning) for (const run of this.#active.values()) run.stop('pause');
  }

  resumeQueue(): void {
    this.#store.setPaused(false);
    this.events.setQueue({ ...this.events.queue, paused: false });
    this.#catchUp();
  }

  #row(id: number): JobRow {
    const row = this.#store.get(id);
    if (!row) throw new I2lError('JOB_NOT_FOUND', `There is no job ${id}.`, { job: id });
    return row;
  }

  #runner(kind: string): AnyRunner {
    const runner = this.#runners.get(kind);
    if (!runner) throw new I2lError('JOB_KIND', `This version knows no job of the kind "${kind}".`, { kind });
    return runner;
  }

  #apply(id: number, event: JobEvent, more: (row: JobRow) => Partial<JobRow> = () => ({})): JobView {
    this.#store.transaction(() => {
      const row = this.#row(id);
      const state = nextState(row.state, event);
      if (!state) throw refused(row, VERBS[event] ?? event);
      if (state !== row.state || event === 'requeue') {
        this.#store.update(id, { ...changeOn(row, event, state, this.#clock), ...more(row) });
      }
    });
    return this.#told(id);
  }

  #told(id: number): JobView {
    const row = this.#row(id);
    this.#tell([row]);
    return this.events.job(id) ?? viewOf(row);
  }

  /** Tells of written rows, with the progress of those that run, and sees what can start now. */
  #tell(rows: readonly JobRow[]): void {
    for (const row of rows) this.events.publish(this.#viewOf(row));
    this.#catchUp();
  }

  #viewOf(row: JobRow): JobView {
    return { ...viewOf(row), ...this.#active.get(row.id)?.change };
  }

  /** Writes down the ends of runs and starts what may start; where the store refuses, again in a while. */
  #catchUp(): void {
    this.#guard(() => {
      for (const [run, outcome] of this.#outcomes) this.#settle(run, outcome);
      if (!this.#open || this.#store.paused() || this.#isLastTry()) return;
      for (const lane of LANES) this.#fill(lane);
    });
  }

  /**
   * A job that would be failed for another crash runs alone, before all others: so that none is failed for
   * what another did. Once it has finished a step they run beside it.
   */
  #isLastTry(): boolean {
    const { crashLimit } = this.#recovery;
    if ([...this.#active.values()].some(({ crashes }) => crashes > 0 && crashes >= crashLimit - 1)) return true;
    const row = this.#store.nextCrashed(crashLimit - 1);
    if (row && this.#active.size === 0) this.#begin(row);
    return row !== undefined;
  }

  #guard(write: () => void): void {
    try {
      write();
      if (this.events.queue.problem) this.events.setQueue({ ...this.events.queue, problem: null });
    } catch (error) {
      this.events.setQueue({ ...this.events.queue, problem: I2lError.from(error).toShape() });
      clearTimeout(this.#retry);
      if (this.#open) this.#retry = setTimeout(() => this.#catchUp(), this.#retryMs);
    }
  }

  #fill(lane: Lane): void {
    while ([...this.#active.values()].filter((run) => run.lane === lane).length < this.#limits[lane]) {
      const row = this.#store.next(lane);
      if (!row) return;
      this.#begin(row);
    }
  }

  #begin(row: JobRow): void {
    const run = new ActiveRun(row, {
      store: this.#store,
      clock: this.#clock,
      onProgress: (of) => this.#onProgress(of),
      onStep: () => this.#catchUp(),
      onLog: ({ id }, note) => this.#guard(() => this.#log(id, note)),
    });
    this.#store.update(row.id, changeOn(row, 'start', 'running', this.#clock));
    this.#active.set(row.id, run);
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS);
    this.events.publish(viewOf(this.#row(row.id)));
    // Not at once: a runner's first lines are not to run within somebody's pause() or enqueue().
    const work = Promise.resolve()
      .then(() => run.work((kind) => this.#runner(kind), row))
      .then((outcome) => {
        this.#outcomes.set(run, outcome);
        this.#catchUp();
      })
      .finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  #log(id: number, { code, message, fields, error }: Note): void {
    const note = { code, fields, ...(error && { error }) };
    this.#store.appendLog(id, { at: this.#clock.now(), text: message, note });
  }

  #onProgress(run: ActiveRun): void {
    const { progress, runSeconds } = run.change;
    this.events.progress(run.id, progress, runSeconds);
    const now = this.#clock.seconds();
    if (now - (this.#flushed.get(run) ?? Number.NEGATIVE_INFINITY) < FLUSH_SECONDS) return;
    this.#flushed.set(run, now);
    this.#guard(() => this.#store.update(run.id, run.change));
  }

  /** A run that says nothing for a while still comes nearer to its end. */
  #tick(): void {
    for (const { id, change } of this.#active.values()) this.events.progress(id, change.progress, change.runSeconds);
  }

  #stopTicker(): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  #settle(run: ActiveRun, outcome: Outcome): void {
    const row = this.#row(run.id);
    this.#store.transaction(() => {
      const state = nextState(row.state, outcome.event);
      if (!state) throw new I2lError('INTERNAL', `Job ${row.id} came to "${outcome.event}" while it was ${row.state}.`);
      this.#store.update(row.id, { ...run.change, ...changeOn(row, outcome.event, state, this.#clock), ...endOf(outcome, state) });
      if (outcome.event === 'fail') this.#log(row.id, failureNote(outcome.error));
      run.saveRates();
    });
    this.#outcomes.delete(run);
    this.#active.delete(run.id);
    if (this.#active.size === 0) this.#stopTicker();
    this.events.publish(viewOf(this.#row(run.id)));
  }
}

function endOf(outcome: Outcome, state: JobState): Partial<JobRow> {
  if (outcome.event === 'done') return { result: outcome.result };
  return outcome.event === 'fail' && state === 'failed' ? { error: outcome.error.toShape() } : {};
}

function isAtRest(state: JobState): boolean {
  return (AT_REST as readonly JobState[]).includes(state);
}

const VERBS: Partial<Record<JobEvent, string>> = {
  resume: 'be resumed',
  pause: 'be paused',
  cancel: 'be cancelled',
  retry: 'be run again',
  requeue: 'be sent to the end of the queue',
};

function refused({ id, title, state }: JobRow, what: string): I2lError {
  return new I2lError('JOB_STATE', `Job ${id} (${title}) is ${state} and can't ${what}.`, { job: id, state });
}
