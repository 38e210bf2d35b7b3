import { fork } from 'node:child_process';
import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import { I2lError } from '../../main/contract/errors.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import type { JobContext, JobRunner } from '../../main/jobs/runner.ts';
import { Database } from '../../main/library/database.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { removeStaleParts } from '../../main/weights/stale-files.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';

/**
 * An app that does nothing but run a queue, for tests that kill it:
 * node queue-worker.ts FOLDER JOBS SEED [drain]
 *
 * It adds jobs until there are JOBS of them, while a restless user pauses, cancels and moves them, and says on
 * its output what it was promised by the queue. With `drain` it lets everything come to its end, and ends.
 */
const [folder = '', jobs = '', seed = '', mode = ''] = process.argv.slice(2);
const random = mulberry32(Number(seed));
/** Synchronous: what is said was said, even if the next moment is the last. */
const say = (word: string, ...values: (string | number)[]): void => void writeSync(1, `${[word, ...values].join(' ')}\n`);

const database = await Database.open(folder, { role: 'owner', name: 'a queue under fire', waitMs: 5000 });
const store = new LibraryJobs(database);

/** Every step's mark in the library is in one transaction with the step. */
const mark = (job: number, step: string): number => database.run(MARK, { name: `${job}/${step}` }).id;
const MARK = "INSERT INTO sets (name, sort_name, notes, storage, created_at, updated_at) VALUES (:name, :name, '', 'copied', 0, 0)";

const stepsSchema = z.object({ file: z.string(), steps: z.int().positive() });

/** Appends a line a step. What was appended after the last step that was noted is cut off first. */
async function append({ file, steps }: z.infer<typeof stepsSchema>, context: JobContext): Promise<number> {
  let size = 0;
  for (let i = 0; i < steps; i++) {
    const key = `step ${i}`;
    if (context.journal.done(key)) {
      size = z.int().parse(context.journal.get(key));
      continue;
    }
    context.signal.throwIfAborted();
    const handle = openSync(join(folder, file), 'a+');
    ftruncateSync(handle, size);
    size += writeSync(handle, `${key}\n`);
    fsyncSync(handle);
    closeSync(handle);
    await setTimeout(random() * 4);
    context.journal.finish(key, size, () => mark(context.jobId, key));
    say('finished', context.jobId, i);
    context.progress({ step: 'append', stage: key, work: [{ kind: 'test: append', done: i + 1, total: steps }] });
  }
  return size;
}

const outputSchema = z.object({ output: z.string(), chunks: z.int().positive() });

/** As an engine does: another process writes a file under another name and renames it. */
async function compute({ output, chunks }: z.infer<typeof outputSchema>, context: JobContext): Promise<string> {
  if (context.journal.done('engine')) return output;
  const path = join(folder, output);
  removeStaleParts(path);
  const child = fork(new URL('./fake-engine.ts', import.meta.url), [path, String(chunks)], { stdio: 'ignore' });
  const stop = (): void => void child.send('cancel', () => undefined);
  context.signal.addEventListener('abort', stop);
  if (context.signal.aborted) stop();
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  if (code === 130) throw new I2lError('CANCELLED', 'The engine was told to stop.');
  if (code !== 0) throw new I2lError('ENGINE_CRASHED', `The engine stopped with code ${code}.`);
  context.journal.finish('engine', output, () => mark(context.jobId, 'engine'));
  say('finished', context.jobId, 0);
  return output;
}

const runners = [
  { kind: 'append', lane: 'light', inputSchema: stepsSchema, run: append } satisfies JobRunner<z.infer<typeof stepsSchema>, number>,
  { kind: 'engine', lane: 'engine', inputSchema: outputSchema, run: compute } satisfies JobRunner<
    z.infer<typeof outputSchema>,
    string
  >,
  { kind: 'poison', lane: 'light', inputSchema: z.null(), run: () => Promise.reject(process.kill(process.pid, 'SIGKILL')) } satisfies JobRunner<null, never>, // prettier-ignore
];

const poison = mode === 'poison';
const queue = new JobQueue({ store, runners, crashLimit: poison ? 3 : 1000, retryMs: 10 });
queue.start();
say('started');

let closing = false;
process.on('SIGTERM', () => {
  closing = true;
  void queue
    .close()
    .then(() => database.close())
    .then(() => process.exit(0));
});

function add(): void {
  const count = store.list().length;
  if (count >= Number(jobs)) return;
  const isEngine = count % 5 === 4;
  const input = isEngine ? { output: `file-${count}`, chunks: 4 } : { file: `file-${count}`, steps: 3 + (count % 9) };
  const { id } = queue.enqueue({ kind: isEngine ? 'engine' : 'append', title: `Job ${count}`, input, priority: count % 3 });
  say('added', id);
}

/** Whatever it wishes, the queue grants it or refuses it with a reason. */
function wish(): void {
  const list = queue.list();
  const job = list[Math.floor(random() * list.length)];
  if (!job) return;
  const other = list[Math.floor(random() * list.length)]?.id ?? null;
  const wishes = [
    () => queue.pause(job.id),
    () => queue.resume(job.id),
    () => queue.resume(job.id),
    () => queue.cancel(job.id),
    // A job that is done would run again from scratch, and rightly do its steps a second time.
    () => (job.state === 'done' ? job : queue.retry(job.id)),
    () => queue.requeue(job.id),
    () => queue.setPriority(job.id, Math.floor(random() * 5) - 2),
    () => queue.reorder(job.id, other),
    () => queue.pauseQueue({ stopRunning: random() < 0.5 }),
    () => queue.resumeQueue(),
    () => queue.resumeQueue(),
  ];
  try {
    wishes[Math.floor(random() * wishes.length)]?.();
  } catch (error) {
    if (I2lError.from(error).code !== 'JOB_STATE') throw error;
  }
}

async function restless(): Promise<never> {
  for (;;) {
    if (closing) await new Promise(() => undefined);
    add();
    if (random() < 0.5) wish();
    await setTimeout(random() * 5);
  }
}

async function drain(): Promise<void> {
  queue.resumeQueue();
  while (store.list().length < Number(jobs)) add();
  for (const job of queue.list()) {
    if (job.state === 'paused') queue.resume(job.id);
    if (job.state === 'cancelled' || (job.state === 'failed' && !poison)) queue.retry(job.id);
  }
  const events = queue.events.watch();
  while (!queue.events.jobs().every(({ state }) => hasEnded(state))) await events.next();
  await queue.close();
  await database.close();
  say('drained');
}

if (poison && store.list().length === 0) {
  for (const title of ['before', 'after']) queue.enqueue({ kind: 'append', title, input: { file: title, steps: 2 } });
  queue.enqueue({ kind: 'poison', title: 'poison', input: null });
}
if (mode === '') await restless();
else await drain();
