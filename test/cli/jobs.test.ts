import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { JobQueue } from '../../main/jobs/queue.ts';
import type { JobRunner } from '../../main/jobs/runner.ts';
import { Database } from '../../main/library/database.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { tempFolder } from '../unit/temp.ts';
import { runCli, type CliRun } from './run-cli.ts';
import { someNote } from '../jobs/some-note.ts';

/** i2l jobs over a data folder with some jobs in it. */
const folder = tempFolder();
let count = 0;
let home: string;

const runner: JobRunner<string, string> = {
  kind: 'test',
  lane: 'light',
  inputSchema: z.string(),
  run: (input, { log }) => {
    log(someNote(`looked at ${input}`));
    return Promise.resolve(input);
  },
};

beforeEach(async () => {
  home = join(folder, `home-${count++}`);
  const database = await Database.open(home, { role: 'owner', name: 'a test' });
  const queue = new JobQueue({ store: new LibraryJobs(database), runners: [runner] });
  for (const title of ['ink', 'watercolour']) queue.enqueue({ kind: 'test', title, input: title });
  await database.close();
});

const jobs = (...args: string[]): Promise<CliRun> => runCli(['jobs', ...args], { env: { I2L_HOME: home } });
const lastOf = ({ stdout }: CliRun): Record<string, unknown> =>
  JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;

test('lists them in words and as JSON, and some of them', async () => {
  expect((await jobs('ls')).stdout).toBe('    1  waiting     ink\n    2  waiting     watercolour\n');
  expect(lastOf(await jobs('ls', '--json'))).toMatchObject({ type: 'jobs', jobs: [{ id: 1 }, { id: 2, title: 'watercolour' }] });
  expect((await jobs('ls', '--state', 'failed,done')).stdout).toBe('There are no jobs.\n');
  const wrong = await jobs('ls', '--state', 'asleep');
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/--state: expected any of waiting, running/)]);
});

test('shows, pauses, resumes, cancels and forgets', async () => {
  expect(lastOf(await jobs('pause', '1', '2', '--json'))).toMatchObject({ job: { id: 2, state: 'paused' } });
  expect(lastOf(await jobs('resume', '2', '--json'))).toMatchObject({ job: { id: 2, state: 'waiting' } });
  expect(lastOf(await jobs('cancel', '2', '--json'))).toMatchObject({ job: { id: 2, state: 'cancelled' } });
  expect((await jobs('show', '2')).stdout).toBe('    2  cancelled   watercolour\n');
  expect((await jobs('remove', '2')).stdout).toBe('Job 2 is forgotten.\n');
  expect(lastOf(await jobs('show', '2', '--json'))).toMatchObject({ type: 'failed', error: { code: 'JOB_NOT_FOUND' } });
  expect((await jobs('cancel', 'two')).code).toBe(2);
});

test('while somebody runs the queue it is read, and changed by nobody else', async () => {
  const database = await Database.open(home, { role: 'owner', name: 'i2l serve at http://127.0.0.1:8225' });
  const queue = new JobQueue({ store: new LibraryJobs(database), runners: [runner] });
  queue.start();
  try {
    await expect.poll(() => queue.list().every(({ state }) => state === 'done')).toBe(true);
    const shown = await jobs('show', '1');
    expect(shown.stdout).toMatch(/^ {4}1 {2}done {8}ink.*\n {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}looked at ink\n$/);
    const refused = await jobs('retry', '1');
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('i2l serve at http://127.0.0.1:8225')]);
  } finally {
    await queue.close();
    await database.close();
  }
});
