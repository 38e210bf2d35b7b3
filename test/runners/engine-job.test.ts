import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { EngineEvent, JobProgress, JobResult } from '../../main/contract/engine.ts';
import { resetRankJobSchema, type CreateJob, type Job, type ResetRankJob } from '../../main/contract/job.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { runInEngine, type EngineRun } from '../../main/engine-process.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import type { AnyRunner } from '../../main/jobs/runner.ts';
import { createRunner, type CreateResult } from '../../main/runners/create-job.ts';
import { engineRunner, type StartEngine } from '../../main/runners/engine-job.ts';
import { makeSlowJob, type SlowJob } from '../chaos/slow-job.ts';
import { calm } from '../jobs/bench-runner.ts';
import { MemoryStore } from '../jobs/memory-store.ts';
import { tempFolder } from '../unit/temp.ts';
import { someNote } from '../jobs/some-note.ts';

const folder = tempFolder();
const queues: JobQueue[] = [];
afterEach(async () => {
  await Promise.all(queues.splice(0).map((queue) => queue.close()));
});

function open(runners: readonly AnyRunner[], store = new MemoryStore()): { queue: JobQueue; store: MemoryStore } {
  const queue = new JobQueue({ store, runners });
  queue.start();
  queues.push(queue);
  return { queue, store };
}

async function ended(queue: JobQueue, id: number): Promise<void> {
  await expect.poll(() => hasEnded(queue.get(id).state), { timeout: 60_000, interval: 5 }).toBe(true);
}

/** An engine that the test speaks for. */
class FakeEngine {
  readonly jobs: Job[] = [];
  run: EngineRun | undefined;
  #end: { resolve: (result: JobResult) => void; reject: (error: unknown) => void } | undefined;

  readonly start: StartEngine = (job, run) => {
    this.jobs.push(job);
    this.run = run;
    const { promise, ...end } = Promise.withResolvers<JobResult>();
    this.#end = end;
    run.signal?.addEventListener('abort', () => end.reject(new I2lError('CANCELLED', 'The job was cancelled.')));
    return promise;
  };

  say(event: EngineEvent): void {
    this.run?.onEvent(event);
  }

  done(result: Partial<JobResult> = {}): void {
    this.#end?.resolve({ ...RESULT, ...result });
  }

  fail(error: I2lError): void {
    this.#end?.reject(error);
  }
}

const RESULT: JobResult = { type: 'done', device: 'cpu', seconds: 1, weightBytes: 1, peakMemory: 1, networks: [] };
const reset: ResetRankJob = {
  ...{ kind: 'reset-rank', file: '/in.safetensors', choice: { kind: 'fixed', rank: 4 }, split: 'balanced' },
  ...{ output: '/out.safetensors', dtype: 'bf16', keyForm: 'comfyui', memory: 1 << 30, device: 'auto', threads: 0 },
};
const progress = (done: number): JobProgress => ({
  ...{ type: 'progress', step: 'style', stage: 'block 3', stageIndex: 3, stageCount: 10, bytesDone: done, bytesTotal: 100 },
  ...{ bytesPerSecond: 7, images: 1, etaSeconds: 99, device: 'cpu', work: [{ step: 'style', done, total: 100 }] },
});

describe('any engine job', () => {
  const setUp = (record?: (job: ResetRankJob, result: JobResult) => Promise<() => void>) => {
    const engine = new FakeEngine();
    const runner = engineRunner({ kind: 'reset-rank', schema: resetRankJobSchema, record }, engine.start);
    return { engine, runner, ...open([runner]) };
  };
  const add = (queue: JobQueue) => queue.enqueue({ kind: 'reset-rank', title: 'Rank 4', input: reset }).id;

  test('progress and notes are told, the time left by the table of this machine', async () => {
    const { engine, queue, store } = setUp();
    store.putRate('cpu: style', 50);
    const id = add(queue);
    await calm();
    expect(engine.jobs).toEqual([reset]);
    engine.say(progress(0));
    const { etaSeconds, fraction, ...shown } = queue.get(id).progress!;
    expect(shown).toEqual({ step: 'style', stage: 'block 3', bytesDone: 0, bytesTotal: 100 });
    // Told a moment ago.
    expect(etaSeconds).toBeGreaterThan(1);
    expect(etaSeconds).toBeLessThanOrEqual(2);
    expect(fraction).toBeLessThan(0.5);
    engine.say({ type: 'note', ...someNote('a.png: rotated.') });
    engine.done({ output: '/out.safetensors' });
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'done', result: { output: '/out.safetensors' } });
    expect(queue.log(id).map(({ text }) => text)).toEqual(['a.png: rotated.']);
  });

  test('bytes that come slower than work is done count for the time left', async () => {
    const { engine, queue, store } = setUp();
    store.putRate('cpu: style', 50);
    const id = add(queue);
    await calm();
    const [item] = progress(0).work;
    engine.say({ ...progress(0), work: [{ ...item!, reading: { done: 0, total: 300, waited: 0, speed: 10 } }] });
    expect(queue.get(id).progress?.etaSeconds).toBeGreaterThan(29);
    engine.done();
    await calm();
  });

  test('what a run measured is in the table for the next', async () => {
    const { engine, queue, store } = setUp();
    add(queue);
    await calm();
    const started = performance.now();
    engine.say(progress(0));
    await new Promise((resolve) => setTimeout(resolve, 20)); // A timer may be a millisecond early.
    engine.say(progress(60));
    engine.done();
    await calm();
    const rate = store.rates().get('cpu: style')!;
    expect(rate).toBeGreaterThan((0.9 * 60_000) / (performance.now() - started));
    expect(rate).toBeLessThan(60_000 / 18);
  });

  test('an engine that is done is not run again, though the process died before the queue knew', async () => {
    const recorded: string[] = [];
    const { engine, runner, queue, store } = setUp((job, result) =>
      Promise.resolve(() => void recorded.push(`${job.file} ${result.output}`)),
    );
    const id = add(queue);
    await calm();
    store.update(id, { state: 'running' });
    engine.done({ output: '/out.safetensors' });
    await calm();
    store.update(id, { state: 'running' });
    const next = open([runner], store).queue;
    await calm();
    expect(next.get(id)).toMatchObject({ state: 'done', result: { output: '/out.safetensors' } });
    expect(engine.jobs).toHaveLength(1);
    expect(recorded).toEqual(['/in.safetensors /out.safetensors']);
  });

  test.each(['pause', 'cancel'] as const)('%s reaches the engine', async (wish) => {
    const { engine, queue } = setUp();
    const id = add(queue);
    await calm();
    queue[wish](id);
    expect(engine.run?.signal?.aborted).toBe(true);
    await calm();
    expect(queue.get(id).state).toBe(wish === 'pause' ? 'paused' : 'cancelled');
    if (wish === 'pause') queue.resume(id);
    else queue.retry(id);
    await calm();
    engine.done();
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'done', attempts: 2 });
  });

  test('an engine that crashed is a failed job with its error, and can be run again', async () => {
    const { engine, queue } = setUp();
    const id = add(queue);
    await calm();
    engine.fail(new I2lError('ENGINE_CRASHED', 'The engine stopped by SIGSEGV.', { signal: 'SIGSEGV' }));
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'failed', error: { code: 'ENGINE_CRASHED', fields: { signal: 'SIGSEGV' } } });
    queue.retry(id);
    await calm();
    expect(engine.jobs).toHaveLength(2);
  });
});

describe('create', { timeout: 180_000 }, () => {
  let slow: SlowJob;
  beforeAll(() => {
    slow = makeSlowJob(folder);
  });
  /** What the engine says of a LoRA that it has written. */
  const write = (output: string): EngineEvent => {
    writeFileSync(output, output);
    return { type: 'lora', output, bytes: Buffer.byteLength(output), rank: 4, modules: 1, tensorHash: 'x', images: 1 };
  };
  const outputs = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => join(folder, `${name}-${i}.safetensors`));
  const jobOf = (files: readonly string[]): CreateJob => {
    const job = slow.job(files[0]!);
    return { ...job, sets: files.map((output) => ({ ...job.sets[0]!, output })) };
  };
  const add = (queue: JobQueue, job: CreateJob) => queue.enqueue({ kind: 'create', title: 'Sea', input: job }).id;
  const result = (queue: JobQueue, id: number) => queue.get(id).result as CreateResult;

  test('in a real engine, paused half-way and gone on, gives the file that an undisturbed one gives', async () => {
    const [plain, file] = outputs('paused', 2) as [string, string];
    await runInEngine(slow.job(plain), { onEvent: () => undefined });
    const { queue } = open([createRunner()]);
    const id = add(queue, slow.job(file));
    await expect.poll(() => queue.get(id).progress?.step, { timeout: 60_000, interval: 2 }).toBe('style');
    queue.pause(id);
    await expect.poll(() => queue.get(id).state, { timeout: 60_000, interval: 5 }).toBe('paused');
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith('.i2l-part'))).toEqual([]);
    queue.resume(id);
    await ended(queue, id);
    expect(queue.get(id)).toMatchObject({ state: 'done', attempts: 2 });
    expect(readFileSync(file).equals(readFileSync(plain))).toBe(true);
    expect(result(queue, id)).toMatchObject({ loras: [{ output: file, modules: 288 }], failedSets: 0 });
  });

  test('whose engine is killed fails with ENGINE_CRASHED, leaves nothing, and is made by a retry', async () => {
    const [file] = outputs('killed', 1) as [string];
    let pid = 0;
    const start: StartEngine = (job, run) => runInEngine(job, { ...run, onStart: (engine) => (pid = engine) });
    const { queue } = open([createRunner(undefined, start)]);
    const id = add(queue, slow.job(file));
    await expect.poll(() => queue.get(id).progress?.step, { timeout: 60_000, interval: 2 }).toBe('style');
    process.kill(pid, 'SIGKILL');
    await ended(queue, id);
    expect(queue.get(id)).toMatchObject({ state: 'failed', error: { code: 'ENGINE_CRASHED', fields: { signal: 'SIGKILL' } } });
    expect(readdirSync(folder).filter((name) => name.startsWith('killed'))).toEqual([]);
    queue.retry(id);
    await ended(queue, id);
    expect([queue.get(id).state, existsSync(file)]).toEqual(['done', true]);
  });

  test('goes on with the sets that are left, and with those whose file has gone; each is recorded as it is made', async () => {
    const files = outputs('many', 3);
    const engine = new FakeEngine();
    const recorded: string[] = [];
    const runner = createRunner((lora) => Promise.resolve(() => void recorded.push(lora.file)), engine.start);
    const { queue } = open([runner]);
    const made = files.map(write);
    const id = add(queue, jobOf(files));
    await calm();
    made.slice(0, 2).forEach((event) => engine.say(event));
    engine.fail(new I2lError('DISK_FULL', 'full'));
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'failed', steps: [`lora ${files[0]}`, `lora ${files[1]}`] });
    rmSync(files[0]!);
    queue.retry(id);
    await calm();
    expect((engine.jobs[1] as CreateJob).sets.map(({ output }) => output)).toEqual([files[0], files[2]]);
    engine.say(made[2]!);
    engine.say({ type: 'set-failed', output: files[0]!, error: new I2lError('NO_IMAGES', 'no image left').toShape() });
    engine.done({ loras: 1 });
    await calm();
    expect(result(queue, id)).toMatchObject({
      failedSets: 1,
      loras: [{ output: files[1] }, { output: files[2] }],
      run: { loras: 1 },
    });
    expect(recorded).toEqual(files);
    expect(queue.log(id)).toMatchObject([
      { text: 'full', note: { code: 'FAILED', error: { code: 'DISK_FULL' } } },
      {
        text: `Not made: ${files[0]}: no image left`,
        note: { code: 'LORA_NOT_MADE', fields: { file: files[0] }, error: { code: 'NO_IMAGES' } },
      },
    ]);
  });

  test.each([
    new I2lError('NO_IMAGES', 'None of the image sets can be used.'),
    new I2lError('FILE_NOT_FOUND', '/images/b.png: there is no such file.', { file: '/images/b.png' }),
  ])('counts those left that can’t be made, when others are: $message', async (error) => {
    const files = outputs(error.code, 2);
    const engine = new FakeEngine();
    const { queue } = open([createRunner(undefined, engine.start)]);
    const job = jobOf(files);
    job.sets[1]!.images = [{ file: '/images/b.png', weight: 1 }];
    const id = add(queue, job);
    await calm();
    engine.say(write(files[0]!));
    engine.fail(new I2lError('DISK_FULL', 'full'));
    await calm();
    queue.retry(id);
    await calm();
    engine.fail(error);
    await calm();
    expect(result(queue, id)).toMatchObject({ failedSets: 1, loras: [{ output: files[0] }], run: null });
    expect(queue.log(id).at(-1)?.text).toBe(error.message);
    queue.retry(id, { fromScratch: true });
    await calm();
    engine.fail(error);
    await calm();
    expect(queue.get(id), 'none is made').toMatchObject({ state: 'failed', error: { code: error.code } });
  });

  test('starts no engine where nothing is left', async () => {
    const files = outputs('made', 1);
    const engine = new FakeEngine();
    const { queue, store } = open([createRunner(undefined, engine.start)]);
    const lora = write(files[0]!);
    queue.pauseQueue();
    const id = add(queue, jobOf(files));
    store.putStep(id, { key: `lora ${files[0]}`, value: lora });
    queue.resumeQueue();
    await ended(queue, id);
    expect(engine.jobs).toEqual([]);
    expect(result(queue, id)).toEqual({ loras: [lora], failedSets: 0, run: null });
  });

  test('fails with the library’s trouble where a LoRA can’t be noted', async () => {
    const files = outputs('unnoted', 1);
    const engine = new FakeEngine();
    const record = () =>
      Promise.resolve(() => {
        throw new I2lError('LIBRARY_BUSY', 'another process writes');
      });
    const { queue } = open([createRunner(record, engine.start)]);
    const id = add(queue, jobOf(files));
    await calm();
    engine.say(write(files[0]!));
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'failed', steps: [], error: { code: 'LIBRARY_BUSY' } });
  });
});
