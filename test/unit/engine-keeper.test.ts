import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { EngineEvent, EngineRequest, JobResult } from '../../main/contract/engine.ts';
import type { Job } from '../../main/contract/job.ts';
import { EngineKeeper } from '../../main/engine-keeper.ts';
import { runInEngine, type EngineEnd, type EngineListener, type StartEngineProcess } from '../../main/engine-process.ts';
import { rejectionOf } from './errors.ts';
import { someNote } from '../jobs/some-note.ts';

const GIB = 2 ** 30;
const encode: Job = {
  ...{ kind: 'encode', images: ['/a.png'], experts: ['style'], output: '/out', skipBad: false },
  ...{ memory: GIB, device: 'cpu', threads: 2 },
};
const merge: Job = {
  ...{ kind: 'merge', inputs: [{ file: '/a', strength: 1 }], output: '/out', dtype: 'bf16', keyForm: 'plain' },
  ...{ memory: GIB, device: 'cpu', threads: 2 },
};
const spectrum: Job = { kind: 'spectrum', file: '/a', output: '/b', memory: GIB, device: 'cpu', threads: 2 };
const DONE: JobResult = { type: 'done', device: 'cpu', seconds: 1, weightBytes: 0, peakMemory: 1, networks: [] };
const STAYS: JobResult = { ...DONE, resident: { groups: 3, bytes: 500 } };
const IDLE_MS = 60_000;

/** An engine whose part the test plays. */
class FakeEngine {
  readonly requests: EngineRequest[] = [];
  readonly #listener: EngineListener;
  readonly pid: number;
  state: 'runs' | 'killed' | 'released' | 'ended' = 'runs';

  constructor(pid: number, listener: EngineListener) {
    this.pid = pid;
    this.#listener = listener;
    listener.onStart(pid);
  }

  send(request: EngineRequest): void {
    this.requests.push(request);
  }

  say(event: EngineEvent): void {
    this.#listener.onMessage(event);
  }

  end(end: Partial<EngineEnd> = {}): void {
    if (this.state === 'runs') this.state = 'ended';
    this.#listener.onEnd({ code: 0, signal: null, stderr: '', ...end });
  }

  kill(): void {
    this.state = 'killed';
    this.end({ code: null, signal: 'SIGKILL' });
  }

  release(): void {
    this.state = 'released';
    this.end();
  }
}

function setUp() {
  const engines: FakeEngine[] = [];
  let isOn = true;
  const start: StartEngineProcess = (_env, listener) => {
    const engine = new FakeEngine(engines.length + 1, listener);
    engines.push(engine);
    return engine;
  };
  const keeper = new EngineKeeper({ start, isOn: () => isOn, idleMs: IDLE_MS });
  const run = (job: Job, options: { signal?: AbortSignal; onStart?: (pid: number) => void; silenceMs?: number } = {}) =>
    runInEngine(job, { onEvent: () => undefined, ...options }, keeper.starterFor(job));
  /** Runs a job to its end in the engine that is started or found for it. @returns which */
  const done = async (job: Job, answer = STAYS): Promise<number> => {
    let pid = 0;
    const running = run(job, { onStart: (id) => (pid = id) });
    engines[pid - 1]?.say(answer);
    await running;
    return pid;
  };
  return { engines, keeper, run, done, turn: (on: boolean) => (isOn = on), states: () => engines.map(({ state }) => state) };
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('an engine with something for the next job', () => {
  test('gets that, too, and its answer and its id are of that job', async () => {
    const { engines, done } = setUp();
    expect([await done(encode), await done(encode), await done({ ...encode, memory: 2 * GIB })]).toEqual([1, 1, 1]);
    expect(engines).toHaveLength(1);
    expect(engines[0]?.requests.map((request) => request.type === 'run' && request.stays)).toEqual([true, true, true]);
  });

  test('is ended after some minutes', async () => {
    const { done, states } = setUp();
    await done(encode);
    await vi.advanceTimersByTimeAsync(IDLE_MS - 1);
    expect(states()).toEqual(['runs']);
    await vi.advanceTimersByTimeAsync(1);
    expect(states()).toEqual(['killed']);
    expect(await done(encode)).toBe(2);
  });

  test('is not ended by the clock while it works', async () => {
    const { engines, done, run, states } = setUp();
    await done(encode);
    const running = run(encode);
    await vi.advanceTimersByTimeAsync(10 * IDLE_MS);
    expect(states()).toEqual(['runs']);
    engines[0]?.say(DONE);
    await running;
    expect(states()).toEqual(['released']);
  });

  test.each<[string, Partial<Job>]>([
    ['less memory', { memory: GIB - 1 }],
    ['another device', { device: 'webgpu' }],
    ['other threads', { threads: 1 }],
    ['less of a device', { vram: GIB }],
  ])('is ended where a job wants %s', async (_, change) => {
    const { done, states } = setUp();
    await done(encode);
    expect(await done({ ...encode, ...change } as Job)).toBe(2);
    expect(states()).toEqual(['killed', 'runs']);
  });

  test('is ended by a job that would take memory beside it, and left alone by one that always may', async () => {
    const { done, states } = setUp();
    await done(encode);
    expect(await done(spectrum, DONE)).toBe(2);
    expect(states()).toEqual(['runs', 'released']);
    expect(await done(merge, DONE)).toBe(3);
    expect(states()).toEqual(['killed', 'released', 'released']);
  });

  test('is ended when the app closes, and none is kept then', async () => {
    const { engines, keeper, done, run, states } = setUp();
    await done(encode);
    const running = run(encode);
    const closing = keeper.close();
    engines[0]?.say(STAYS);
    await running;
    await closing;
    expect(states()).toEqual(['released']);
    await done(encode);
    expect(states()).toEqual(['released', 'released']);
  });

  test('is ended when the user wants it no more', async () => {
    const { keeper, done, turn, states } = setUp();
    await done(encode);
    turn(false);
    await keeper.end();
    expect(states()).toEqual(['killed']);
    expect([await done(encode), await done(encode)]).toEqual([2, 3]);
    expect(states()).toEqual(['killed', 'released', 'released']);
  });

  test('makes place for a later one: there is one at most', async () => {
    const { engines, run, states } = setUp();
    const both = [run(encode), run(encode)];
    engines[0]?.say(STAYS);
    engines[1]?.say(STAYS);
    await Promise.all(both);
    expect(states()).toEqual(['killed', 'runs']);
  });
});

describe('an engine that waits and dies', () => {
  test('is forgotten', async () => {
    const { engines, done } = setUp();
    await done(encode);
    engines[0]?.end({ code: null, signal: 'SIGKILL' });
    expect(await done(encode)).toBe(2);
  });

  test('just as it is given a job: a fresh one gets that', async () => {
    const { engines, done, run } = setUp();
    await done(encode);
    const ids: number[] = [];
    const stop = new AbortController();
    const running = run(encode, { onStart: (id) => ids.push(id), signal: stop.signal });
    stop.abort();
    engines[0]?.end({ code: null, signal: 'SIGKILL' });
    expect(engines[1]?.requests.map(({ type }) => type)).toEqual(['run', 'cancel']);
    engines[1]?.say(DONE);
    expect(await running).toEqual(DONE);
    expect(ids).toEqual([1, 2]);
  });

  test('in the middle of a job: that is a crash like any other', async () => {
    const { engines, done, run } = setUp();
    await done(encode);
    const running = rejectionOf(run(encode));
    engines[0]?.say({ type: 'note', ...someNote('at work') });
    engines[0]?.end({ code: null, signal: 'SIGSEGV' });
    expect(await running).toMatchObject({ code: 'ENGINE_CRASHED', fields: { signal: 'SIGSEGV' } });
    expect(engines).toHaveLength(1);
  });

  test('of silence: that is an end like any other', async () => {
    const { engines, done, run } = setUp();
    await done(encode);
    const running = rejectionOf(run(encode, { silenceMs: 1000 }));
    await vi.advanceTimersByTimeAsync(1000);
    expect(await running).toMatchObject({ code: 'ENGINE_CRASHED', fields: { silentSeconds: 1 } });
    expect(engines).toHaveLength(1);
  });

  test('because it speaks unasked', async () => {
    const { engines, done, states } = setUp();
    await done(encode);
    engines[0]?.say({ type: 'note', ...someNote('hello?') });
    expect(states()).toEqual(['killed']);
    expect(await done(encode)).toBe(2);
  });
});

test('one that ends without a word, as if it holds too much for a job, gives way to a fresh one', async () => {
  const { engines, done, run } = setUp();
  await done(encode);
  const running = run(encode);
  engines[0]?.end();
  expect(engines[1]?.requests).toEqual([{ type: 'run', job: encode, stays: true }]);
  engines[1]?.say(STAYS);
  await running;
  expect(await done(encode)).toBe(2);
});

test.each(['CANCELLED', 'DISK_FULL'] as const)('one whose job ended with %s is not kept', async (code) => {
  const { engines, run, states } = setUp();
  const running = rejectionOf(run(encode));
  engines[0]?.say({ type: 'failed', error: { code, message: 'It failed.', fields: {} } });
  await running;
  expect(states()).toEqual(['released']);
});
