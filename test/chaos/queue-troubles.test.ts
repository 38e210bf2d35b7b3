import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { openApp } from '../../main/app.ts';
import type { ResetRankJob } from '../../main/contract/job.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import { Database } from '../../main/library/database.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { Bench, calm } from '../jobs/bench-runner.ts';
import { randomDense, writeLora } from '../lora/lora-files.ts';
import { rejectionOf, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

/** A queue over a real library whose disk, lock or files fail it: told by name, and gone on when they are back. */
const base = tempFolder();
let count = 0;
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(folder = join(base, `library-${count++}`)) {
  const database = await Database.open(folder, { role: 'owner', name: 'a test', waitMs: 0 });
  closers.push(() => database.close());
  const bench = new Bench();
  const queue = new JobQueue({ store: new LibraryJobs(database), runners: [bench.runner('work', 'light')], retryMs: 20 });
  queue.start();
  closers.push(async () => {
    for (const run of bench.runs.values()) run.finish();
    await queue.close();
  });
  const add = (input = '') => queue.enqueue({ kind: 'work', title: 'Work', input }).id;
  const pragma = (text: string) => database.raw((sqlite) => sqlite.pragma(text, { simple: true }));
  return { folder, database, bench, queue, add, pragma };
}

type Opened = Awaited<ReturnType<typeof open>>;

/** The end of a run comes while the library refuses it; it is told why, and noted as soon as it can be. */
async function outlives({ queue, bench, add }: Opened, code: string, spoil: () => void, mend: () => void): Promise<void> {
  const [a, b, c] = [add(), add(), add()] as const;
  await calm();
  spoil();
  bench.of(a).finish('x'.repeat(20_000));
  await calm();
  expect(queue.events.queue.problem).toMatchObject({ code });
  expect(queue.events.queue.problem?.message).toMatch(/library\.db: /);
  expect(thrownBy(() => bench.of(b).context.journal.finish('step', 'y'.repeat(20_000))).code).toBe(code);
  expect(thrownBy(() => add('z'.repeat(20_000))).code).toBe(code);
  expect([queue.get(a).state, queue.get(c).state]).toEqual(['running', 'waiting']);
  mend();
  await expect.poll(() => queue.get(c).state, { timeout: 10_000 }).toBe('running');
  expect(queue.get(a).state).toBe('done');
  expect(queue.get(b)).toMatchObject({ state: 'running', steps: [] });
  bench.of(b).context.journal.finish('step', 'y');
  expect(queue.get(b).steps).toEqual(['step']);
  expect(queue.events.queue.problem).toBeNull();
}

test('a full disk', async () => {
  const opened = await open();
  const { pragma } = opened;
  // SQLite answers as for a full disk; a real one is in full-disk.test.ts.
  await outlives(opened, 'DISK_FULL', () => pragma(`max_page_count = ${String(pragma('page_count'))}`), () => pragma('max_page_count = 1000000')); // prettier-ignore
  expect(pragma('integrity_check')).toBe('ok');
});

test('what can no longer be written can still be closed, and opened again', async () => {
  const folder = join(base, 'closed');
  const database = await Database.open(folder, { role: 'owner', name: 'a test', waitMs: 0 });
  const store = new LibraryJobs(database);
  // So much that SQLite wants to write statistics of it at the close.
  const job = { kind: 'work', lane: 'light', title: 'Work', input: null, priority: 0, createdAt: 0 } as const;
  database.write(() => Array.from({ length: 500 }, () => store.insert(job)));
  store.next('light');
  database.raw((sqlite) => sqlite.pragma('query_only = 1'));
  await database.close();
  expect((await open(folder)).queue.list()).toHaveLength(500);
});

test('a library that can only be read', async () => {
  const opened = await open();
  await outlives(opened, 'FILE_WRITE_FAILED', () => opened.pragma('query_only = 1'), () => opened.pragma('query_only = 0')); // prettier-ignore
});

test('a library that another process keeps locked', async () => {
  const opened = await open();
  opened.pragma('busy_timeout = 20');
  const holder = spawn(process.execPath, ['-e', LOCK, opened.database.file], { stdio: ['pipe', 'pipe', 'inherit'], cwd: root });
  const ended = new Promise((resolve) => holder.on('close', resolve));
  const say = async (word: string) => {
    holder.stdin.write(word);
    await new Promise((resolve) => holder.stdout.once('data', resolve));
  };
  const [a, b] = [opened.add(), opened.add()] as const;
  await calm();
  await say('lock');
  opened.bench.of(a).finish();
  await calm();
  expect(opened.queue.events.queue.problem).toMatchObject({ code: 'LIBRARY_BUSY' });
  expect(thrownBy(() => opened.queue.pause(b)).code).toBe('LIBRARY_BUSY');
  expect(opened.bench.of(b).context.signal.aborted).toBe(false);
  await say('free');
  await expect.poll(() => opened.queue.get(a).state).toBe('done');
  expect(opened.queue.pause(b).state).toBe('pausing');
  holder.stdin.end();
  await ended;
});

const root = fileURLToPath(new URL('../..', import.meta.url));
const LOCK = `
const database = new (require('better-sqlite3'))(process.argv[1]);
process.stdin.on('data', (word) => {
  database.exec(String(word) === 'lock' ? 'BEGIN IMMEDIATE' : 'ROLLBACK');
  console.log('so it is');
});
`;

test('two apps: the second is told who has the queue, and takes it when the first is gone', async () => {
  const { folder, queue, database, bench, add } = await open();
  const id = add();
  await calm();
  expect(await rejectionOf(openApp({ dataFolder: folder, name: 'another' }))).toMatchObject({ code: 'LIBRARY_IN_USE' });
  const closed = queue.close();
  bench.rest(id);
  await closed;
  await database.close();
  const next = await open(folder);
  await calm();
  expect(next.queue.get(id)).toMatchObject({ state: 'running', attempts: 2 });
});

test('a file that vanished under a job: it fails by the file’s name, and is done when the file is back', async () => {
  const folder = join(base, 'app');
  const app = await openApp({ dataFolder: folder, name: 'a test' });
  closers.push(() => app.close());
  const { queue } = app.services;
  const [file, away, output] = ['in', 'away', 'out'].map((name) => join(base, `${name}.safetensors`)) as [string, string, string];
  writeLora(file, [{ path: 'transformer_blocks.0.attn.to_q', a: randomDense(4, 3072, 1), b: randomDense(3072, 4, 2) }]);
  const input: ResetRankJob = {
    ...{ kind: 'reset-rank', file, choice: { kind: 'fixed', rank: 1 }, split: 'balanced', output, dtype: 'f32' },
    ...{ keyForm: 'comfyui', memory: 1 << 30, device: 'cpu', threads: 1 },
  };
  queue.pauseQueue();
  const { id } = queue.enqueue({ kind: 'reset-rank', title: 'Rank 1', input });
  renameSync(file, away);
  queue.resumeQueue();
  await expect.poll(() => hasEnded(queue.get(id).state), { timeout: 30_000 }).toBe(true);
  expect(queue.get(id)).toMatchObject({ state: 'failed', error: { code: 'FILE_NOT_FOUND', fields: { file } } });
  expect(queue.log(id).at(-1)?.text).toContain(file);
  copyFileSync(away, file);
  queue.retry(id);
  await expect.poll(() => queue.get(id).state, { timeout: 30_000 }).toBe('done');
  expect(existsSync(output)).toBe(true);
});

test('a library of another program’s is left alone, and the queue isn’t begun', async () => {
  const folder = join(base, 'foreign');
  const opened = await open(folder);
  await opened.queue.close();
  await opened.database.close();
  writeFileSync(join(folder, 'library.db'), 'not a database, but a letter to somebody. '.repeat(200));
  expect((await rejectionOf(openApp({ dataFolder: folder, name: 'a test' }))).code).toBe('LIBRARY_DAMAGED');
});
