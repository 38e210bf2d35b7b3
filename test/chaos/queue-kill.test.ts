import { spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { tempFolder } from '../unit/temp.ts';
import { partsIn, until } from './processes.ts';

/**
 * A real queue over a real library.db in a real process, killed at random moments and started again: the
 * database is sound, no job and no step is lost, and none is done twice. I2L_KILLS sets how often; npm run
 * test:chaos does it 100 times.
 */
const KILLS = Number(process.env['I2L_KILLS'] ?? 8);
const SEED = Number(process.env['I2L_SEED'] ?? 7);
const JOBS = 40 + 3 * KILLS;

const base = tempFolder();
const worker = fileURLToPath(new URL('queue-worker.ts', import.meta.url));

interface Process {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly end: Promise<{ readonly code: number | null; readonly stderr: string }>;
}

function start(folder: string, ...rest: readonly (string | number)[]): Process {
  const child = spawn(process.execPath, [worker, folder, ...rest.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const output = { stdout: '', stderr: '' };
  const lines: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (output.stdout + text).split('\n');
    output.stdout = parts.pop() ?? '';
    lines.push(...parts);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  const end = new Promise<{ code: number | null; stderr: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, stderr: output.stderr })),
  );
  return { child, lines, end };
}

/** What the queue had promised before its process died. */
class Promised {
  readonly jobs = new Set<number>();
  readonly steps = new Set<string>();

  hear(lines: readonly string[]): void {
    for (const [word, id, step] of lines.map((line) => line.split(' '))) {
      if (word === 'added') this.jobs.add(Number(id));
      if (word === 'finished') this.steps.add(`${id} ${step}`);
    }
  }
}

interface Row {
  readonly id: number;
  readonly kind: string;
  readonly state: string;
  readonly input: string;
  readonly error: string | null;
}

/** What is in the library, read from a copy: the next process is to find it as the dead one left it. */
function inspect(folder: string): { readonly rows: Row[]; readonly steps: string[]; readonly marks: string[] } {
  const copy = join(base, 'copy');
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy);
  for (const name of ['library.db', 'library.db-wal']) {
    if (existsSync(join(folder, name))) copyFileSync(join(folder, name), join(copy, name));
  }
  const database = new Sqlite(join(copy, 'library.db'));
  try {
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(database.pragma('foreign_key_check')).toEqual([]);
    // Killed before its tables were made.
    if (database.pragma('user_version', { simple: true }) === 0) return { rows: [], steps: [], marks: [] };
    const strings = (sql: string) => database.prepare<[], string>(sql).pluck().all();
    return {
      rows: database.prepare<[], Row>('SELECT * FROM jobs ORDER BY id').all(),
      steps: strings("SELECT job_id || '/' || key FROM job_steps ORDER BY 1"),
      marks: strings('SELECT name FROM sets ORDER BY 1'),
    };
  } finally {
    database.close();
  }
}

function check(folder: string, promised: Promised): void {
  if (!existsSync(join(folder, 'library.db'))) return expect(promised.jobs.size).toBe(0);
  const { rows, steps, marks } = inspect(folder);
  const ids = new Set(rows.map(({ id }) => id));
  expect(
    [...promised.jobs].filter((id) => !ids.has(id)),
    'jobs that are lost',
  ).toEqual([]);
  const kept = new Set(steps.map((step) => step.replace(/\/(step )?/, ' ').replace('engine', '0')));
  expect(
    [...promised.steps].filter((step) => !kept.has(step)),
    'steps that are lost',
  ).toEqual([]);
  expect(marks, 'a step and its mark are one').toEqual(steps);
  expect(new Set(marks).size, 'a step that was done twice').toBe(marks.length);
  for (const { id, kind, input } of rows) {
    if (kind !== 'append') continue;
    const { file } = JSON.parse(input) as { file: string };
    const noted = steps.filter((step) => step.startsWith(`${id}/`)).length;
    const written = existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : '';
    expect(written.startsWith(stepsOf(noted)), `${file}: ${noted} steps are noted`).toBe(true);
  }
}

const stepsOf = (count: number): string => Array.from({ length: count }, (_, i) => `step ${i}\n`).join('');
const chunksOf = (count: number): string => Array.from({ length: count }, (_, i) => `chunk ${i}\n`).join('');

/** Every job is done, and its file is what its steps make, once each. */
function checkDrained(folder: string): void {
  const { rows, steps } = inspect(folder);
  expect(rows).toHaveLength(JOBS);
  expect(rows.filter(({ state }) => state !== 'done')).toEqual([]);
  let expected = 0;
  for (const { kind, input } of rows) {
    const job = JSON.parse(input) as { file: string; steps: number; output: string; chunks: number };
    const [path, text] = kind === 'append' ? [job.file, stepsOf(job.steps)] : [job.output, chunksOf(job.chunks)];
    expect(readFileSync(join(folder, path), 'utf8'), path).toBe(text);
    expected += kind === 'append' ? job.steps : 1;
  }
  expect(steps).toHaveLength(expected);
}

const random = mulberry32(SEED);

/** Lets it run for a while, and ends it: mostly by force, and now and then as one should. */
async function runForAWhile({ child, lines, end }: Process): Promise<'killed' | 'ended'> {
  const pid = child.pid ?? 0;
  // One in four dies while it starts, the others at their work.
  if (random() < 0.25) await setTimeout(random() * 500);
  else {
    await until(() => lines.includes('started') || child.exitCode !== null, 20_000);
    await setTimeout(random() * 150);
  }
  const gently = lines.includes('started') && random() < 0.12;
  if (gently) child.kill('SIGTERM');
  // A power cut takes the engine as well; the out-of-memory killer takes one process.
  else process.kill(random() < 0.5 ? -pid : pid, 'SIGKILL');
  const { code, stderr } = await end;
  expect(stderr).toBe('');
  if (gently) expect(code).toBe(0);
  return gently ? 'ended' : 'killed';
}

test(
  `a queue that is killed ${KILLS} times loses nothing and does nothing twice`,
  { timeout: 20_000 + 8_000 * KILLS },
  async () => {
    const folder = join(base, 'queue');
    const promised = new Promised();
    let kills = 0;
    for (let round = 0; kills < KILLS; round++) {
      const process = start(folder, JOBS, SEED + round);
      if ((await runForAWhile(process)) === 'killed') kills += 1;
      promised.hear(process.lines);
      check(folder, promised);
    }
    const last = start(folder, JOBS, SEED, 'drain');
    expect(await last.end).toEqual({ code: 0, stderr: '' });
    expect(last.lines.at(-1)).toBe('drained');
    promised.hear(last.lines);
    check(folder, promised);
    checkDrained(folder);
    await until(() => partsIn(folder).length === 0, 5000);
    expect(partsIn(folder), 'left by an engine').toEqual([]);
    expect(
      readdirSync(folder)
        .filter((name) => name.startsWith('library'))
        .sort(),
    ).toEqual(['library.db', 'library.lock']);
  },
);

test.runIf(process.platform !== 'win32')(
  'a job that kills the app is given up after three times, and the others are done',
  async () => {
    const folder = join(base, 'poison');
    for (let times = 1; times <= 3; times++) {
      const { child, end } = start(folder, 0, 1, 'poison');
      await end;
      expect(child.signalCode, `run ${times}`).toBe('SIGKILL');
    }
    const last = start(folder, 0, 1, 'poison');
    expect(await last.end).toEqual({ code: 0, stderr: '' });
    const { rows } = inspect(folder);
    expect(rows.map(({ kind, state }) => `${kind} ${state}`)).toEqual(['append done', 'append done', 'poison failed']);
    expect(JSON.parse(rows[2]?.error ?? '')).toMatchObject({ code: 'JOB_CRASHED', fields: { crashes: 3 } });
  },
);
