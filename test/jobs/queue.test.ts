import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { I2lError } from '../../main/contract/errors.ts';
import { JobQueue, type QueueOptions } from '../../main/jobs/queue.ts';
import { stopped } from '../../main/jobs/runner.ts';
import { LOG_LINES } from '../../main/jobs/store.ts';
import { thrownBy } from '../unit/errors.ts';
import { Bench, calm } from './bench-runner.ts';
import { MemoryStore } from './memory-store.ts';
import { someNote } from './some-note.ts';

const opened: JobQueue[] = [];
afterEach(async () => {
  // Whatever still runs is let go.
  await Promise.all(opened.splice(0).map((queue) => Promise.race([queue.close(), calm()])));
});

function open(options: Partial<QueueOptions> = {}, bench = new Bench()) {
  const store = (options.store as MemoryStore | undefined) ?? new MemoryStore();
  const runners = [bench.runner('create', 'engine'), bench.runner('export', 'light'), bench.runner('fetch', 'download')];
  const queue = new JobQueue({ runners, retryMs: 5, ...options, store });
  queue.start();
  opened.push(queue);
  const add = (kind = 'create', priority = 0) => queue.enqueue({ kind, title: kind, input: {}, priority }).id;
  const state = (id: number) => queue.get(id).state;
  return { queue, bench, store, add, state };
}

describe('lanes and order', () => {
  test('one engine job at a time, two light ones beside it', async () => {
    const { bench, add, state } = open();
    const engine = [add(), add()];
    const light = [add('export'), add('export'), add('export')];
    const fetch = add('fetch');
    await calm();
    expect([...bench.runs.keys()]).toEqual([engine[0], light[0], light[1], fetch]);
    bench.of(engine[0]!).finish();
    bench.of(light[1]!).finish();
    await calm();
    expect([...bench.runs.keys()].sort()).toEqual([engine[1], light[0], light[2], fetch].sort());
    expect(state(engine[0]!)).toBe('done');
  });

  test('by priority, then in turn; a change counts at once', async () => {
    const { queue, bench, add } = open();
    const ids = [add(), add(), add('create', 5), add()];
    queue.setPriority(ids[3]!, 9);
    queue.reorder(ids[1]!, ids[2]!);
    for (let i = 0; i < 4; i++) {
      await calm();
      bench.of(bench.started.at(-1)!).finish();
    }
    await calm();
    expect(bench.started).toEqual([ids[0], ids[3], ids[1], ids[2]]);
    expect(queue.list().map(({ id }) => id)).toEqual([4, 3, 2, 1]);
  });

  test('a paused or failed job holds up nobody', async () => {
    const { queue, bench, add, state } = open();
    const [a, b, c] = [add(), add(), add()] as const;
    await calm();
    queue.pause(b);
    bench.of(a).fail(new Error('no'));
    await calm();
    expect([state(a), state(b), state(c)]).toEqual(['failed', 'paused', 'running']);
  });
});

describe('pause, cancel, retry', () => {
  test('a paused run is told to stop, rests, and goes on from its journal', async () => {
    const { queue, bench, add, state } = open();
    const id = add();
    await calm();
    bench.of(id).context.journal.finish('one', { n: 1 });
    queue.pause(id);
    expect(state(id)).toBe('pausing');
    expect(bench.of(id).context.signal.reason).toEqual(stopped('pause'));
    expect(thrownBy(() => queue.resume(id)).code).toBe('JOB_STATE');
    bench.rest(id);
    await calm();
    expect(state(id)).toBe('paused');
    queue.resume(id);
    await calm();
    const { journal } = bench.of(id).context;
    expect([journal.done('one'), journal.get('one'), journal.done('two')]).toEqual([true, { n: 1 }, false]);
    expect(queue.get(id)).toMatchObject({ state: 'running', attempts: 2, steps: ['one'] });
  });

  test('a run that was done before it could stop is done', async () => {
    const { queue, bench, add } = open();
    const [a, b] = [add(), add('export')] as const;
    await calm();
    queue.pause(a);
    queue.cancel(b);
    bench.of(a).finish({ file: 'x' });
    bench.of(b).finish();
    await calm();
    expect(queue.get(a)).toMatchObject({ state: 'done', result: { file: 'x' } });
    expect(queue.get(b)).toMatchObject({ state: 'done', result: null });
  });

  test('cancelled: waiting and paused at once, running at its safe point; what went wrong on the way out is in the log', async () => {
    const { queue, bench, add, state } = open();
    const [a, b, c] = [add(), add(), add()] as const;
    await calm();
    queue.pause(b);
    for (const id of [a, b, c]) queue.cancel(id);
    expect([a, b, c].map(state)).toEqual(['cancelling', 'cancelled', 'cancelled']);
    expect(bench.of(a).context.signal.reason).toEqual(stopped('cancel'));
    bench.of(a).fail(new I2lError('FILE_WRITE_FAILED', 'the part could not be removed'));
    await calm();
    expect(queue.get(a)).toMatchObject({ state: 'cancelled', error: null });
    expect(queue.log(a)).toMatchObject([
      { text: 'the part could not be removed', note: { code: 'FAILED', fields: {}, error: { code: 'FILE_WRITE_FAILED' } } },
    ]);
  });

  test('pausing, then cancelled', async () => {
    const { queue, bench, add, state } = open();
    const id = add();
    await calm();
    queue.pause(id);
    queue.cancel(id);
    expect(state(id)).toBe('cancelling');
    bench.rest(id);
    await calm();
    expect(state(id)).toBe('cancelled');
  });

  test('interrupted from outside, it is cancelled and not failed', async () => {
    const { bench, add, state } = open();
    const id = add();
    await calm();
    bench.of(id).fail(new I2lError('CANCELLED', 'Ctrl-C reached the engine.'));
    await calm();
    expect(state(id)).toBe('cancelled');
  });

  test('a failure is kept with its code; a retry goes to the end and keeps the journal unless it is from scratch', async () => {
    const { queue, bench, add } = open();
    const [a, b] = [add(), add()] as const;
    await calm();
    bench.of(a).context.journal.finish('one', 1);
    bench.of(a).fail(new I2lError('ENGINE_CRASHED', 'It stopped.', { signal: 'SIGSEGV' }));
    await calm();
    expect(queue.get(a)).toMatchObject({ state: 'failed', error: { code: 'ENGINE_CRASHED', fields: { signal: 'SIGSEGV' } } });
    expect(queue.get(a).finishedAt).not.toBeNull();
    queue.retry(a);
    expect(queue.get(a)).toMatchObject({ state: 'waiting', error: null, finishedAt: null, steps: ['one'] });
    expect(queue.get(a).position).toBeGreaterThan(queue.get(b).position);
    queue.cancel(a);
    queue.retry(a, { fromScratch: true });
    expect(queue.get(a).steps).toEqual([]);
  });

  test('what is done runs again from scratch alone', async () => {
    const { queue, bench, add } = open();
    const id = add();
    await calm();
    bench.of(id).context.journal.finish('one', 1);
    bench.of(id).finish(7);
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'done', result: 7, steps: ['one'] });
    queue.retry(id);
    expect(queue.get(id)).toMatchObject({ result: null, steps: [] });
  });

  test('wishes that are granted already change nothing; others are refused with the state', async () => {
    const { queue, bench, add } = open();
    const [a, b] = [add(), add()] as const;
    await calm();
    expect(queue.resume(a).state).toBe('running');
    expect(queue.pause(b).state).toBe('paused');
    expect(queue.pause(b).state).toBe('paused');
    for (const refused of [() => queue.requeue(a), () => queue.retry(b), () => queue.remove(b), () => queue.reorder(b, a)]) {
      expect(thrownBy(refused)).toMatchObject({ code: 'JOB_STATE' });
    }
    bench.of(a).finish();
    await calm();
    expect(thrownBy(() => queue.cancel(a)).fields).toEqual({ job: a, state: 'done' });
    expect(thrownBy(() => queue.setPriority(a, 1)).code).toBe('JOB_STATE');
    expect(thrownBy(() => queue.get(99))).toMatchObject({ code: 'JOB_NOT_FOUND', fields: { job: 99 } });
  });

  test('removed jobs are gone; only ended ones can be', async () => {
    const { queue, bench, add } = open();
    const [a, b, c] = [add(), add(), add()] as const;
    queue.cancel(b);
    await calm();
    bench.of(a).fail(new Error('x'));
    await calm();
    expect(queue.clearFinished(['failed'])).toEqual([a]);
    queue.remove(b);
    expect(queue.list().map(({ id }) => id)).toEqual([c]);
    expect(thrownBy(() => queue.get(a)).code).toBe('JOB_NOT_FOUND');
  });
});

describe('the whole queue', () => {
  test('paused, it starts nothing, in this process and the next; running jobs finish', async () => {
    const { queue, bench, store, add, state } = open();
    const [a, b] = [add(), add()] as const;
    await calm();
    queue.pauseQueue();
    bench.of(a).finish();
    await calm();
    expect([state(a), state(b)]).toEqual(['done', 'waiting']);
    const next = open({ store });
    await calm();
    expect(next.queue.events.queue.paused).toBe(true);
    expect(next.state(b)).toBe('waiting');
    next.queue.resumeQueue();
    await calm();
    expect(next.state(b)).toBe('running');
  });

  test('running jobs can be sent back to their place', async () => {
    const { queue, bench, add, state } = open();
    const [a, b] = [add(), add()] as const;
    await calm();
    queue.pauseQueue({ stopRunning: true });
    bench.rest(a);
    await calm();
    expect(state(a)).toBe('waiting');
    queue.resumeQueue();
    await calm();
    expect([state(a), state(b)]).toEqual(['running', 'waiting']);
  });

  test('closed, it waits for its runs, which wait for the next process without a crash to their name', async () => {
    const { queue, bench, store, add } = open();
    const [a, b] = [add(), add()] as const;
    await calm();
    const closed = queue.close();
    expect(bench.of(a).context.signal.reason).toEqual(stopped('shutdown'));
    bench.rest(a);
    await closed;
    expect(store.list().map(({ id, state, crashes }) => ({ id, state, crashes }))).toEqual([
      { id: a, state: 'waiting', crashes: 0 },
      { id: b, state: 'waiting', crashes: 0 },
    ]);
  });
});

describe('after a crash', () => {
  test('running waits again at its old place, pausing is paused, cancelling cancelled', async () => {
    const { queue, store, add } = open();
    const [a, b] = [add(), add()] as const;
    const [c, d] = [add('export'), add('export')] as const;
    await calm();
    queue.pause(c);
    queue.cancel(d);
    const next = open({ store });
    expect([a, b, c, d].map(next.state)).toEqual(['running', 'waiting', 'paused', 'cancelled']);
    expect(next.queue.get(a)).toMatchObject({ attempts: 2 });
  });

  test('a job under which the process dies again and again is failed, with advice', async () => {
    const { store, add } = open();
    const id = add();
    for (let crash = 1; crash <= 2; crash++) {
      const next = open({ store });
      await calm();
      expect(next.state(id)).toBe('running');
    }
    const last = open({ store });
    expect(last.queue.get(id)).toMatchObject({
      state: 'failed',
      attempts: 3,
      error: { code: 'JOB_CRASHED', fields: { crashes: 3 } },
    });
    last.queue.retry(id);
    expect(open({ store }).state(id)).toBe('running');
  });

  test('none is failed for what another did: for its last try a job runs alone, and beside others once a step is done', async () => {
    const { store, add } = open();
    const [a, b] = [add('export'), add('create')] as const;
    open({ store });
    const { bench, state, add: addLater } = open({ store });
    const later = addLater('export', 9);
    await calm();
    expect([...bench.runs.keys()]).toEqual([a]);
    bench.of(a).fail(new Error('no crash'));
    await calm();
    expect([...bench.runs.keys()]).toEqual([b]);
    expect(state(later)).toBe('waiting');
    bench.of(b).context.journal.finish('a step', null);
    await calm();
    expect([...bench.runs.keys()]).toEqual([b, later]);
  });

  test('a finished step breaks the row: a long job outlives any number of power cuts', async () => {
    const store = new MemoryStore();
    const id = open({ store }).add();
    for (let crash = 0; crash < 10; crash++) {
      const { bench, state } = open({ store });
      await calm();
      expect(state(id)).toBe('running');
      bench.of(id).context.journal.finish(`step ${crash}`, null);
    }
  });
});

describe('input and result', () => {
  test('input is parsed when it is enqueued', () => {
    const bench = new Bench();
    const schema = z.object({ n: z.int(), more: z.string().default('some') });
    const { queue } = open({ runners: [bench.runner('count', 'light', schema)] }, bench);
    expect(queue.get(queue.enqueue({ kind: 'count', title: 't', input: { n: 1 } }).id).input).toEqual({ n: 1, more: 'some' });
    expect(thrownBy(() => queue.enqueue({ kind: 'count', title: 't', input: { n: 1.5 } }))).toMatchObject({
      code: 'BAD_ARGUMENT',
      fields: { kind: 'count', at: 'n' },
    });
    expect(thrownBy(() => queue.enqueue({ kind: 'none', title: 't', input: {} })).code).toBe('JOB_KIND');
  });

  test('and again when it is read: an input that is no longer understood, or a kind that is not known, fails', async () => {
    const { store, add } = open();
    const [a, b] = [add('create'), add('export')] as const;
    await calm();
    const bench = new Bench();
    const { state, queue } = open({ store, runners: [bench.runner('create', 'engine', z.object({ needed: z.string() }))] }, bench);
    await calm();
    expect([state(a), state(b)]).toEqual(['failed', 'failed']);
    expect([queue.get(a).error?.code, queue.get(b).error?.code]).toEqual(['BAD_ARGUMENT', 'JOB_KIND']);
  });

  test('a result that is not JSON is an error of the runner', async () => {
    const { bench, add, queue } = open();
    const id = add();
    await calm();
    bench.of(id).finish(10n);
    await calm();
    expect(queue.get(id)).toMatchObject({ state: 'failed', error: { code: 'INTERNAL' } });
  });

  test('a runner that throws before it waits for anything', async () => {
    const run = () => {
      throw new TypeError('at once');
    };
    const { add, queue } = open({ runners: [{ kind: 'create', lane: 'engine', inputSchema: z.unknown(), run }] });
    const id = add();
    await calm();
    expect(queue.get(id)).toMatchObject({
      state: 'failed',
      error: { code: 'INTERNAL', message: expect.stringContaining('at once') },
    });
  });
});

describe('a run and its context', () => {
  test('a run that has ended can say no more', async () => {
    const { bench, add, queue } = open();
    const id = add();
    await calm();
    const { context, finish } = bench.of(id);
    context.log(someNote('a line'));
    finish();
    await calm();
    context.progress({ step: 'late', stage: '' });
    context.log(someNote('late'));
    expect(thrownBy(() => context.journal.finish('late', null)).code).toBe('INTERNAL');
    expect(queue.get(id)).toMatchObject({ steps: [], progress: null });
    expect(queue.log(id)).toEqual([
      { at: expect.any(Number) as number, text: 'a line', note: { code: 'WEIGHTS_KEPT', fields: { bytes: 1 } } },
    ]);
  });

  test('progress is told at once and kept when it ends', async () => {
    const { bench, add, queue, store } = open();
    const id = add();
    await calm();
    const { context, fail } = bench.of(id);
    context.progress({ step: 'dinov3', stage: 'block 1', fraction: 0.25 });
    context.progress({ step: 'dinov3', stage: 'block 2', fraction: 0.5 });
    expect(queue.get(id).progress).toEqual({ step: 'dinov3', stage: 'block 2', fraction: 0.5 });
    fail(new Error('x'));
    await calm();
    expect(store.get(id)?.progress?.stage).toBe('block 2');
  });

  test('what a step records is in one transaction with it', async () => {
    const { bench, add, queue, store } = open();
    const id = add();
    await calm();
    const { journal } = bench.of(id).context;
    const boom = () => {
      store.appendLog(id, { at: 0, text: 'half' });
      throw new Error('boom');
    };
    expect(() => journal.finish('a', 1, boom)).toThrow('boom');
    expect([journal.done('a'), queue.log(id)]).toEqual([false, []]);
    journal.finish('a', 1, () => store.appendLog(id, { at: 0, text: 'whole' }));
    expect([journal.done('a'), queue.log(id).length]).toEqual([true, 1]);
  });

  test('times: shown by the wall clock, added up by the other; a clock that goes back changes no order', async () => {
    let now = 1_000_000;
    let seconds = 0;
    const { bench, add, queue } = open({ clock: { now: () => now, seconds: () => seconds } });
    const [a, b, c] = [add(), add(), add()] as const;
    await calm();
    now -= 500_000;
    seconds += 12;
    const d = add();
    bench.of(a).finish();
    await calm();
    expect(queue.get(a)).toMatchObject({ startedAt: 1_000_000, finishedAt: 500_000, runSeconds: 12 });
    for (const id of [b, c, d]) {
      bench.of(id).finish();
      await calm();
    }
    expect(bench.started).toEqual([a, b, c, d]);
  });

  test('a log is bounded', async () => {
    const { bench, add, queue } = open();
    const id = add();
    await calm();
    for (let i = 0; i < LOG_LINES + 5; i++) bench.of(id).context.log(someNote(`${i}`));
    expect(queue.log(id)).toHaveLength(LOG_LINES);
  });
});

describe('a store that refuses', () => {
  const full = new I2lError('DISK_FULL', 'the disk is full');
  const refuse = () => {
    throw full;
  };

  test('a wish is refused and nothing has happened', async () => {
    const { queue, store, add, bench, state } = open();
    const id = add();
    await calm();
    store.beforeWrite = refuse;
    expect(thrownBy(() => queue.pause(id)).code).toBe('DISK_FULL');
    expect(thrownBy(() => add()).code).toBe('DISK_FULL');
    expect([state(id), bench.of(id).context.signal.aborted, queue.list().length]).toEqual(['running', false, 1]);
  });

  test('the end of a run is written down as soon as it can be, and what waits starts then', async () => {
    const { queue, store, add, bench, state } = open();
    const [a, b] = [add(), add()] as const;
    await calm();
    store.beforeWrite = refuse;
    bench.of(a).finish('result');
    await calm();
    expect(state(a)).toBe('running');
    expect(queue.events.queue.problem).toMatchObject({ code: 'DISK_FULL' });
    expect(bench.runs.size).toBe(0);
    store.beforeWrite = () => undefined;
    await expect.poll(() => state(b)).toBe('running');
    expect(queue.get(a)).toMatchObject({ state: 'done', result: 'result' });
    expect(queue.events.queue.problem).toBeNull();
  });

  test('a step that could not be written is not finished', async () => {
    const { store, add, bench, queue } = open();
    const id = add();
    await calm();
    store.beforeWrite = refuse;
    expect(thrownBy(() => bench.of(id).context.journal.finish('a', 1)).code).toBe('DISK_FULL');
    bench.of(id).context.progress({ step: 's', stage: '' });
    bench.of(id).context.log(someNote('lost'));
    expect(queue.events.queue.problem).toMatchObject({ code: 'DISK_FULL' });
    expect(bench.of(id).context.journal.done('a')).toBe(false);
  });

  test('closing does not wait for a store that never answers', async () => {
    const { queue, store, add, bench } = open();
    const id = add();
    await calm();
    store.beforeWrite = refuse;
    const closed = queue.close();
    bench.rest(id);
    await closed;
    store.beforeWrite = () => undefined;
    expect(open({ store }).state(id)).toBe('running');
  });
});
