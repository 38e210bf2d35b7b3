import { compareJobs } from '../../main/jobs/order.ts';
import {
  LOG_LINES,
  type JobChange,
  type JobFilter,
  type JobRow,
  type JobStore,
  type NewJob,
  type Step,
} from '../../main/jobs/store.ts';
import { hasEnded, type JobState, type Lane, type LogLine } from '../../main/contract/queue.ts';

interface Content {
  lastId: number;
  paused: boolean;
  jobs: Map<number, JobRow>;
  steps: Map<number, Step[]>;
  logs: Map<number, LogLine[]>;
  rates: Map<string, number>;
}

/** A store for tests: like the real one it takes a transaction wholly or not at all, and gives out copies. */
export class MemoryStore implements JobStore {
  #content: Content = { lastId: 0, paused: false, jobs: new Map(), steps: new Map(), logs: new Map(), rates: new Map() };
  #depth = 0;
  /** Called before each write; throws in place of it. */
  beforeWrite: () => void = () => undefined;

  transaction<T>(work: () => T): T {
    const before = structuredClone(this.#content);
    this.#depth += 1;
    try {
      const result = work();
      // Dead before the commit: nothing of it is there.
      if (this.#depth === 1) this.beforeWrite();
      return result;
    } catch (error) {
      this.#content = before;
      throw error;
    } finally {
      this.#depth -= 1;
    }
  }

  insert(job: NewJob): JobRow {
    return this.#write((content) => {
      const row: JobRow = {
        ...structuredClone(job),
        ...{ id: ++content.lastId, state: 'waiting', position: this.lastPosition(), attempts: 0, crashes: 0, runSeconds: 0 },
        ...{ progress: null, error: null, result: null, startedAt: null, finishedAt: null },
      };
      content.jobs.set(row.id, row);
      return structuredClone(row);
    });
  }

  get(id: number): JobRow | undefined {
    return structuredClone(this.#content.jobs.get(id));
  }

  list({ states, kinds, limit = Infinity, offset = 0 }: JobFilter = {}): JobRow[] {
    const rows = [...this.#content.jobs.values()].filter(
      ({ state, kind }) => (states?.includes(state) ?? true) && (kinds?.includes(kind) ?? true),
    );
    const open = rows.filter(({ state }) => !hasEnded(state)).sort(compareJobs);
    const ended = rows.filter(({ state }) => hasEnded(state)).sort((a, b) => b.id - a.id);
    return structuredClone([...open, ...ended].slice(offset, offset + limit));
  }

  next(lane: Lane): JobRow | undefined {
    return this.list({ states: ['waiting'] }).find((job) => job.lane === lane);
  }

  nextCrashed(crashes: number): JobRow | undefined {
    return this.list({ states: ['waiting'] }).find((job) => job.crashes >= crashes && job.crashes > 0);
  }

  lastPosition(): number {
    return Math.max(0, ...[...this.#content.jobs.values()].map(({ position }) => position)) + 1;
  }

  update(id: number, change: JobChange): void {
    this.#write(({ jobs }) => {
      const row = jobs.get(id);
      if (row) jobs.set(id, { ...row, ...structuredClone(change) });
    });
  }

  remove(id: number): void {
    this.#write(({ jobs, steps, logs }) => [jobs, steps, logs].forEach((map) => map.delete(id)));
  }

  removeAll(states: readonly JobState[]): number[] {
    const ids = this.list({ states }).map(({ id }) => id);
    this.transaction(() => ids.forEach((id) => this.remove(id)));
    return ids;
  }

  steps(id: number): Step[] {
    return structuredClone(this.#content.steps.get(id) ?? []);
  }

  step(id: number, key: string): Step | undefined {
    return this.steps(id).find((step) => step.key === key);
  }

  putStep(id: number, step: Step): void {
    this.#write(({ steps }) => steps.set(id, [...this.steps(id).filter(({ key }) => key !== step.key), structuredClone(step)]));
  }

  clearSteps(id: number): void {
    this.#write(({ steps }) => steps.delete(id));
  }

  appendLog(id: number, line: LogLine): void {
    this.#write(({ logs }) => logs.set(id, [...this.log(id), line].slice(-LOG_LINES)));
  }

  log(id: number): LogLine[] {
    return structuredClone(this.#content.logs.get(id) ?? []);
  }

  paused(): boolean {
    return this.#content.paused;
  }

  setPaused(paused: boolean): void {
    this.#write((content) => (content.paused = paused));
  }

  rates(): ReadonlyMap<string, number> {
    return new Map(this.#content.rates);
  }

  putRate(kind: string, unitsPerSecond: number): void {
    this.#write(({ rates }) => rates.set(kind, unitsPerSecond));
  }

  #write<T>(write: (content: Content) => T): T {
    this.beforeWrite();
    return write(this.#content);
  }
}
