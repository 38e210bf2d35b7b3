import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { EngineEvent, JobResult } from '../../main/contract/engine.ts';
import type { SpectrumJob } from '../../main/contract/job.ts';
import { runInEngine, type EngineListener, type StartEngineProcess } from '../../main/engine-process.ts';
import { rejectionOf } from './errors.ts';
import { someNote } from '../jobs/some-note.ts';

const job: SpectrumJob = { kind: 'spectrum', file: '/a', output: '/b', memory: 1, device: 'cpu', threads: 1 };
const DONE: JobResult = { type: 'done', device: 'cpu', seconds: 1, weightBytes: 0, peakMemory: 1, networks: [] };

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** An engine that says what the test has it say. */
function setUp(silenceMs?: number) {
  let listener: EngineListener | undefined;
  let killed = 0;
  const start: StartEngineProcess = (_env, given) => {
    listener = given;
    const kill = (): void => {
      killed++;
      given.onEnd({ code: null, signal: 'SIGKILL', stderr: '' });
    };
    return { pid: undefined, send: () => undefined, kill, release: () => undefined };
  };
  const events: EngineEvent[] = [];
  const running = runInEngine(job, { onEvent: (event) => events.push(event), silenceMs }, start);
  return { running, say: (event: EngineEvent) => listener?.onMessage(event), killed: () => killed };
}

test('one that says nothing for too long is killed, and the error says so', async () => {
  const { running, killed } = setUp(60_000);
  const error = rejectionOf(running);
  await vi.advanceTimersByTimeAsync(59_999);
  expect(killed()).toBe(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(await error).toMatchObject({ code: 'ENGINE_CRASHED', fields: { silentSeconds: 60 } });
  expect(killed()).toBe(1);
});

test('each word gives it time anew, and its answer ends the watch', async () => {
  const { running, say, killed } = setUp(60_000);
  for (let i = 0; i < 5; i++) {
    await vi.advanceTimersByTimeAsync(50_000);
    say({ type: 'note', ...someNote('still here') });
  }
  say(DONE);
  expect(await running).toEqual(DONE);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(killed()).toBe(0);
});

test('without a limit it may take for ever', async () => {
  const { running, say, killed } = setUp();
  await vi.advanceTimersByTimeAsync(24 * 3_600_000);
  expect(killed()).toBe(0);
  say(DONE);
  await running;
});
