import { z } from 'zod';
import { hasEnded, JOB_STATES, LANES, progressSchema, type JobState, type Lane, type LogLine } from '../contract/queue.ts';
import type { ErrorShape } from '../contract/errors.ts';
import { errorShapeSchema } from '../contract/wire-errors.ts';
import { noteFactsSchema } from '../contract/wire-notes.ts';
import { LOG_LINES, type JobChange, type JobFilter, type JobRow, type JobStore, type NewJob, type Step } from '../jobs/store.ts';
import type { Database } from './database.ts';

/** Jobs in `library.db`. Each write is its own transaction, on the disk when it returns, unless it is within one. */
export class LibraryJobs implements JobStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  transaction<T>(work: () => T): T {
    return this.#database.write(work);
  }

  insert(job: NewJob): JobRow {
    return this.transaction(() => {
      const { id } = this.#database.run(INSERT, { ...job, input: toJson(job.input) });
      return this.get(id) as JobRow;
    });
  }

  get(id: number): JobRow | undefined {
    const row = this.#database.get('SELECT * FROM jobs WHERE id = ?', [id]);
    return row === undefined ? undefined : rowOf(row);
  }

  list({ states = JOB_STATES, kinds, limit, offset = 0 }: JobFilter = {}): JobRow[] {
    const kind = kinds ? toJson(kinds) : null;
    const among = (ended: boolean): string => toJson(states.filter((state) => hasEnded(state) === ended));
    // Few, so what is left of the page is taken from the many by their index.
    const open = this.#database.all(OPEN, { states: among(false), kind });
    const page = open.slice(offset, limit === undefined ? undefined : offset + limit);
    const left = { limit: limit === undefined ? -1 : limit - page.length, offset: Math.max(0, offset - open.length) };
    return [...page, ...this.#database.all(ENDED, { states: among(true), kind, ...left })].map(rowOf);
  }

  next(lane: Lane): JobRow | undefined {
    const row = this.#database.get(NEXT, [lane]);
    return row === undefined ? undefined : rowOf(row);
  }

  nextCrashed(crashes: number): JobRow | undefined {
    const row = this.#database.get(NEXT_CRASHED, [crashes]);
    return row === undefined ? undefined : rowOf(row);
  }

  lastPosition(): number {
    return this.#database.get<{ last: number }>(`SELECT ${LAST_POSITION} AS last`)?.last ?? 1;
  }

  update(id: number, change: JobChange): void {
    const columns = Object.entries(change).map(([field, value]) => ({
      column: COLUMNS[field as keyof JobChange],
      value: JSON_FIELDS.has(field) && value !== null ? toJson(value) : (value as string | number | null),
    }));
    if (columns.length === 0) return;
    const set = columns.map(({ column }) => `${column} = ?`).join(', ');
    this.transaction(() => this.#database.run(`UPDATE jobs SET ${set} WHERE id = ?`, [...columns.map(({ value }) => value), id]));
  }

  remove(id: number): void {
    this.transaction(() => this.#database.run('DELETE FROM jobs WHERE id = ?', [id]));
  }

  removeAll(states: readonly JobState[]): number[] {
    return this.transaction(() => this.#database.all<{ id: number }>(REMOVE_ALL, [toJson(states)]).map(({ id }) => id));
  }

  steps(id: number): Step[] {
    return this.#database.all<StepRow>('SELECT key, value FROM job_steps WHERE job_id = ? ORDER BY id', [id]).map(stepOf);
  }

  step(id: number, key: string): Step | undefined {
    const row = this.#database.get<StepRow>('SELECT key, value FROM job_steps WHERE job_id = ? AND key = ?', [id, key]);
    return row && stepOf(row);
  }

  putStep(id: number, { key, value }: Step): void {
    this.transaction(() => this.#database.run(PUT_STEP, [id, key, toJson(value)]));
  }

  clearSteps(id: number): void {
    this.transaction(() => this.#database.run('DELETE FROM job_steps WHERE job_id = ?', [id]));
  }

  appendLog(id: number, { at, text, note }: LogLine): void {
    this.transaction(() => {
      this.#database.run(APPEND_LOG, [id, at, text, note ? toJson(note) : null]);
      this.#database.run(TRIM_LOG, { id, kept: LOG_LINES });
    });
  }

  log(id: number): LogLine[] {
    return this.#database.all<LogRow>('SELECT at, text, note FROM job_log WHERE job_id = ? ORDER BY id', [id]).map(lineOf);
  }

  paused(): boolean {
    return this.#database.get<{ paused: number }>('SELECT paused FROM queue')?.paused === 1;
  }

  setPaused(paused: boolean): void {
    this.transaction(() => this.#database.run('UPDATE queue SET paused = ?', [paused ? 1 : 0]));
  }

  rates(): ReadonlyMap<string, number> {
    const rows = this.#database.all<{ kind: string; rate: number }>('SELECT kind, units_per_second AS rate FROM work_rates');
    return new Map(rows.map(({ kind, rate }) => [kind, rate]));
  }

  putRate(kind: string, unitsPerSecond: number): void {
    this.transaction(() => this.#database.run(PUT_RATE, [kind, unitsPerSecond]));
  }
}

const LAST_POSITION = '(SELECT coalesce(max(position), 0) + 1 FROM jobs)';

const INSERT = `
  INSERT INTO jobs (kind, lane, title, input, state, priority, position, attempts, crashes, created_at, run_seconds)
  VALUES (:kind, :lane, :title, :input, 'waiting', :priority, ${LAST_POSITION}, 0, 0, :createdAt, 0)`;

const FILTER = `
  SELECT * FROM jobs WHERE state IN (SELECT value FROM json_each(:states))
  AND (:kind IS NULL OR kind IN (SELECT value FROM json_each(:kind)))`;
const OPEN = `${FILTER} ORDER BY priority DESC, position, id`;
const ENDED = `${FILTER} ORDER BY id DESC LIMIT :limit OFFSET :offset`;

const REMOVE_ALL = 'DELETE FROM jobs WHERE state IN (SELECT value FROM json_each(?)) RETURNING id';

const NEXT = `SELECT * FROM jobs WHERE state = 'waiting' AND lane = ? ORDER BY priority DESC, position, id LIMIT 1`;

const NEXT_CRASHED = `
  SELECT * FROM jobs WHERE state = 'waiting' AND crashes > 0 AND crashes >= ? ORDER BY priority DESC, position, id LIMIT 1`;

const PUT_STEP = `
  INSERT INTO job_steps (job_id, key, value) VALUES (?, ?, ?)
  ON CONFLICT (job_id, key) DO UPDATE SET value = excluded.value`;

const APPEND_LOG = 'INSERT INTO job_log (job_id, at, text, note) VALUES (?, ?, ?, ?)';

const TRIM_LOG = `
  DELETE FROM job_log WHERE job_id = :id
  AND id <= (SELECT id FROM job_log WHERE job_id = :id ORDER BY id DESC LIMIT 1 OFFSET :kept)`;

const PUT_RATE = `
  INSERT INTO work_rates (kind, units_per_second) VALUES (?, ?)
  ON CONFLICT (kind) DO UPDATE SET units_per_second = excluded.units_per_second`;

const COLUMNS: Readonly<Record<keyof JobChange, string>> = {
  state: 'state',
  priority: 'priority',
  position: 'position',
  attempts: 'attempts',
  crashes: 'crashes',
  progress: 'progress',
  error: 'error',
  result: 'result',
  startedAt: 'started_at',
  finishedAt: 'finished_at',
  runSeconds: 'run_seconds',
};
const JSON_FIELDS: ReadonlySet<string> = new Set(['progress', 'error', 'result']);

const json = z.string().transform((text): unknown => JSON.parse(text));

/** A row as SQLite gives it; read with care, since it may be of another version of the app. */
const rowSchema = z.object({
  id: z.int(),
  kind: z.string(),
  lane: z.enum(LANES),
  title: z.string(),
  input: json,
  state: z.enum(JOB_STATES),
  priority: z.int(),
  position: z.int(),
  attempts: z.int(),
  crashes: z.int(),
  progress: json.pipe(progressSchema).nullable().catch(null),
  error: json.pipe(errorShapeSchema).nullable().catch(unknownError),
  result: json.nullable(),
  created_at: z.number(),
  started_at: z.number().nullable(),
  finished_at: z.number().nullable(),
  run_seconds: z.number(),
});

function rowOf(row: unknown): JobRow {
  const { created_at: createdAt, started_at: startedAt, finished_at: finishedAt, run_seconds: runSeconds, ...rest } = rowSchema.parse(row); // prettier-ignore
  return { ...rest, createdAt, startedAt, finishedAt, runSeconds };
}

/** A later version may know codes that this one doesn't; that the job failed is still true. */
function unknownError(): ErrorShape {
  return { code: 'INTERNAL', message: 'It failed with an error that this version does not know.', fields: {} };
}

type StepRow = Readonly<{ key: string; value: string }>;

function stepOf({ key, value }: StepRow): Step {
  return { key, value: JSON.parse(value) as unknown };
}

type LogRow = Readonly<{ at: number; text: string; note: string | null }>;

/** Another version may know other notes: their text is there as well. */
const noteColumn = json.pipe(noteFactsSchema).nullable().catch(null);

function lineOf({ at, text, note }: LogRow): LogLine {
  const facts = noteColumn.parse(note);
  return { at, text, ...(facts && { note: facts }) };
}

function toJson(value: unknown): string {
  return JSON.stringify(value ?? null);
}
