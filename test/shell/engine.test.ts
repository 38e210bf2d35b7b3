import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import type { Job } from '../../main/contract/job.ts';
import { parentOf, type ParentPort } from '../../main/engine-parent.ts';
import { runInEngine } from '../../main/engine-process.ts';
import { rejectionOf } from '../unit/errors.ts';
import { someNote } from '../jobs/some-note.ts';

/** A utility process as Electron gives it; the engine's end of its channel is beside it. */
class FakeUtility extends EventEmitter {
  pid: number | undefined = 4711;
  stderr = new EventEmitter();
  killed = false;
  readonly port = new EventEmitter() as EventEmitter & ParentPort;
  postMessage(message: unknown): void {
    setImmediate(() => this.port.emit('message', { data: message }));
  }
  kill(): boolean {
    this.killed = true;
    this.pid = undefined;
    setImmediate(() => this.emit('exit', 15));
    return true;
  }
}

const { fork } = vi.hoisted(() => ({ fork: vi.fn() }));
vi.mock('electron', () => ({ utilityProcess: { fork } }));
const { utilityEngines } = await import('../../main/shell/engine.ts');

const job = { kind: 'diff', a: '/a', b: '/b', memory: 1, device: 'cpu', threads: 0 } satisfies Job;
const done = { type: 'done', device: 'cpu', seconds: 1, weightBytes: 0, peakMemory: 0, networks: [] };

function start(behave: (child: FakeUtility, request: { type: string }) => void): FakeUtility {
  const child = new FakeUtility();
  fork.mockReset().mockReturnValue(child);
  child.port.postMessage = (message) => setImmediate(() => child.emit('message', message));
  child.port.on('message', ({ data }: { data: { type: string } }) => behave(child, data));
  setImmediate(() => child.emit('spawn'));
  return child;
}

test('a job goes there and its answer comes back; telemetry is off, and the process is ended', async () => {
  const note = { type: 'note', ...someNote('hello') };
  const child = start(({ port }) => {
    port.postMessage(note);
    port.postMessage(done);
  });
  const onEvent = vi.fn();
  const onStart = vi.fn();
  expect(await runInEngine(job, { onEvent, onStart }, utilityEngines('/engine.js'))).toMatchObject(done);
  expect(onEvent).toHaveBeenCalledExactlyOnceWith(note);
  expect(onStart).toHaveBeenCalledExactlyOnceWith(4711);
  expect(child.killed).toBe(true);
  const [script, args, options] = fork.mock.calls[0] as [string, string[], { env: NodeJS.ProcessEnv }];
  expect([script, args]).toEqual(['/engine.js', []]);
  expect(options.env['ORT_DISABLE_TELEMETRY']).toBe('1');
});

test('one that dies is a crash, with its last words', async () => {
  start((child) => {
    child.stderr.emit('data', Buffer.from('the last words'));
    child.emit('exit', 134);
  });
  const error = await rejectionOf(runInEngine(job, { onEvent: () => undefined }, utilityEngines('/engine.js')));
  expect(error).toMatchObject({ code: 'ENGINE_CRASHED', fields: { exitCode: 134, stderr: 'the last words' } });
});

test('a cancelled one is told', async () => {
  const stop = new AbortController();
  start(({ port }, { type }) => {
    if (type === 'run') stop.abort();
    else port.postMessage({ type: 'failed', error: { code: 'CANCELLED', message: 'Cancelled.', fields: {} } });
  });
  const error = await rejectionOf(
    runInEngine(job, { onEvent: () => undefined, signal: stop.signal }, utilityEngines('/engine.js')),
  );
  expect(error.code).toBe('CANCELLED');
});

test("the engine's end speaks over Electron's port where there is one, and waits to be ended", () => {
  vi.useFakeTimers();
  const port = Object.assign(new EventEmitter(), { postMessage: vi.fn() });
  const exit = vi.fn() as unknown as NodeJS.Process['exit'];
  const onMessage = vi.fn();
  const parent = parentOf({ parentPort: port, on: vi.fn(), connected: false, exit } as never, { onMessage, onGone: vi.fn() });
  port.emit('message', { data: 'work' });
  expect(onMessage).toHaveBeenCalledExactlyOnceWith('work');
  parent.finish(done as never);
  expect(port.postMessage).toHaveBeenCalledExactlyOnceWith(done);
  expect(exit).not.toHaveBeenCalled();
  vi.advanceTimersByTime(10_000);
  expect(exit).toHaveBeenCalledOnce();
  vi.useRealTimers();
});
