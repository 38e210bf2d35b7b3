import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Database } from '../../main/library/database.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { testStore } from '../jobs/store-contract.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let database: Database;
let kept: Database;

const open = (name: string): Promise<Database> => Database.open(join(base, name), { role: 'owner', name: 'a test', waitMs: 0 });

beforeAll(async () => {
  database = await open('one');
  kept = await open('kept');
});

afterAll(async () => {
  await database.close();
  await kept.close();
});

testStore(() => {
  for (const table of ['jobs', 'work_rates']) database.run(`DELETE FROM ${table}`);
  database.run("DELETE FROM sqlite_sequence WHERE name = 'jobs'");
  return new LibraryJobs(database);
});

test('all of it is there when the library is opened again', async () => {
  const store = new LibraryJobs(kept);
  const { id } = store.insert({
    kind: 'create',
    lane: 'engine',
    title: 'Sea',
    input: { images: ['ü'] },
    priority: 3,
    createdAt: 9,
  });
  store.putStep(id, { key: 'dinov3', value: { file: 'x' } });
  store.appendLog(id, { at: 4, text: 'a line' });
  store.update(id, { state: 'running', attempts: 1, progress: { step: 'style', stage: '', fraction: 0.5 } });
  store.setPaused(true);
  store.putRate('cpu/style', 3);
  const before = store.get(id);
  await kept.close();
  kept = await open('kept');
  const again = new LibraryJobs(kept);
  expect(again.get(id)).toEqual(before);
  expect(again.steps(id)).toEqual([{ key: 'dinov3', value: { file: 'x' } }]);
  expect([again.log(id).length, again.paused(), again.rates().get('cpu/style')]).toEqual([1, true, 3]);
});

test('the next job is found by an index, among any number of ended ones', () => {
  const plan = database.all<{ detail: string }>(
    "EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE state = 'waiting' AND lane = 'engine' ORDER BY priority DESC, position, id LIMIT 1",
  );
  expect(plan.map(({ detail }) => detail)).toEqual([expect.stringContaining('USING INDEX jobs_waiting')]);
});

test.each([
  ['of an older version', null],
  ['of a later version', JSON.stringify({ code: 'MADE_LATER', fields: {} })],
  ['with other fields than fields may be', JSON.stringify({ code: 'WEIGHTS_KEPT', fields: { bytes: { html: '' } } })],
])('a line %s has its text alone', (_name, note) => {
  const store = new LibraryJobs(database);
  const { id } = store.insert({ kind: 'create', lane: 'engine', title: 'Sea', input: {}, priority: 0, createdAt: 0 });
  database.run("INSERT INTO job_log (job_id, at, text, note) VALUES (?, 5, 'a line', ?)", [id, note]);
  expect(store.log(id)).toEqual([{ at: 5, text: 'a line' }]);
});

test('an error that only a later version knows is still an error', () => {
  const store = new LibraryJobs(database);
  const { id } = store.insert({ kind: 'create', lane: 'engine', title: 'Sea', input: {}, priority: 0, createdAt: 0 });
  const error = JSON.stringify({ code: 'MADE_LATER', message: 'm', fields: {} });
  database.run("UPDATE jobs SET state = 'failed', error = ?, progress = '{}' WHERE id = ?", [error, id]);
  expect(store.get(id)).toMatchObject({ state: 'failed', error: { code: 'INTERNAL' }, progress: null });
});
