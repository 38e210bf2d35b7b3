import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasEnded, JOB_STATES, type JobState, type JobView, type QueueEvent } from '../../main/contract/queue.ts';
import { EVENT_INTERVAL_MS, QueueEvents } from '../../main/jobs/events.ts';

const job = (id: number, state: JobState = 'waiting', runSeconds = 0): JobView => ({
  ...{ id, kind: 'create', lane: 'engine', title: `Job ${id}`, state, priority: 0, position: id, attempts: 0 },
  ...{ progress: null, error: null, createdAt: 0, startedAt: null, finishedAt: null, runSeconds },
});

type Watch = ReturnType<QueueEvents['watch']>;
const read = async (watch: Watch): Promise<QueueEvent> => {
  const { value, done } = await watch.next();
  expect(done).toBe(false);
  return value as QueueEvent;
};
const told = (event: QueueEvent) => event.jobs.map(({ id, state }) => `${id} ${state}`);

test('a late joiner first gets everything there is, as it is when it reads', async () => {
  const events = new QueueEvents();
  events.publish(job(1, 'done'));
  const watch = events.watch();
  events.publish(job(2, 'running'));
  events.remove(1);
  events.setQueue({ paused: true, problem: null });
  const first = await read(watch);
  expect(first).toEqual({ type: 'snapshot', jobs: [job(2, 'running')], queue: { paused: true, problem: null } });
  events.publish(job(2, 'done'));
  expect(await read(watch)).toEqual({ type: 'change', jobs: [job(2, 'done')], removed: [] });
});

test('a change after a quiet time is told at once, a storm at most 20 times a second', async () => {
  const events = new QueueEvents();
  const watch = events.watch();
  await read(watch);
  await sleep(2 * EVENT_INTERVAL_MS);
  const quiet = performance.now();
  events.publish(job(1, 'running'));
  await read(watch);
  expect(performance.now() - quiet).toBeLessThan(EVENT_INTERVAL_MS / 2);

  const seen: number[] = [];
  const reader = (async () => {
    for await (const event of { [Symbol.asyncIterator]: () => watch }) {
      seen.push(event.jobs.at(-1)!.runSeconds);
      if (hasEnded(event.jobs.at(-1)!.state)) return;
    }
  })();
  const started = performance.now();
  let n = 0;
  for (; performance.now() - started < 600; n++) {
    events.publish(job(1, 'running', n));
    if (n % 100 === 0) await sleep(1);
  }
  events.publish(job(1, 'done', n));
  await reader;
  const most = (performance.now() - started) / EVENT_INTERVAL_MS + 1;
  expect(n).toBeGreaterThan(1000);
  expect(seen.length).toBeLessThanOrEqual(most);
  expect(seen.length).toBeGreaterThan(3);
  expect(seen.at(-1)).toBe(n);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
});

test('a listener that does not read gets the latest state of each job, however much happened', async () => {
  const events = new QueueEvents();
  const watch = events.watch();
  await read(watch);
  for (let i = 0; i < 100_000; i++) events.publish(job(i % 10, 'running', i));
  const event = await read(watch);
  expect(event.jobs.map(({ runSeconds }) => runSeconds)).toEqual(Array.from({ length: 10 }, (_, i) => 99_990 + i));
});

test('an end is told even if the job ran again or was removed since', async () => {
  const events = new QueueEvents();
  const watch = events.watch();
  await read(watch);
  for (const state of ['running', 'failed', 'waiting', 'running'] as const) events.publish(job(1, state));
  for (const state of ['running', 'done'] as const) events.publish(job(2, state));
  events.remove(2);
  const event = await read(watch);
  expect(told(event)).toEqual(['1 failed', '2 done', '1 running']);
  expect(event).toMatchObject({ removed: [2] });
});

test('one slow listener holds up no other, and all end with the same state', async () => {
  const events = new QueueEvents();
  const watches = Array.from({ length: 50 }, () => events.watch());
  for (const watch of watches) await read(watch);
  const [slow, ...quick] = watches;
  for (let i = 0; i < 20; i++) {
    events.publish(job(1, 'running', i));
    await sleep(5);
  }
  events.publish(job(1, 'done', 20));
  for (const watch of quick) {
    let event = await read(watch);
    while (event.jobs.at(-1)?.state !== 'done') event = await read(watch);
  }
  expect(told(await read(slow!))).toEqual(['1 done']);
});

test.each(['return', 'abort'])('%s ends a read that waits, and nothing is kept for it', async (how) => {
  const events = new QueueEvents();
  const stop = new AbortController();
  const watch = events.watch(stop.signal);
  await read(watch);
  const waiting = watch.next();
  if (how === 'abort') stop.abort();
  else await watch.return!();
  expect(await waiting).toEqual({ done: true, value: undefined });
  events.publish(job(1));
  expect(await watch.next()).toEqual({ done: true, value: undefined });
});

test('an end cuts short the wait between two events', async () => {
  const events = new QueueEvents();
  const watch = events.watch();
  await read(watch);
  events.publish(job(1));
  const waiting = watch.next();
  const started = performance.now();
  await watch.return!();
  await waiting;
  expect(performance.now() - started).toBeLessThan(EVENT_INTERVAL_MS / 2);
});

test('aborted before it began', async () => {
  const watch = new QueueEvents().watch(AbortSignal.abort());
  expect((await watch.next()).done).toBe(true);
});

test('reads that do not wait for each other come one after the other', async () => {
  const events = new QueueEvents();
  const watch = events.watch();
  const reads = [watch.next(), watch.next(), watch.next()];
  events.publish(job(1, 'running', 1));
  await reads[0];
  events.publish(job(1, 'running', 2));
  await reads[1];
  events.publish(job(1, 'running', 3));
  const values = (await Promise.all(reads)).map(({ value }) => (value as QueueEvent).jobs[0]?.runSeconds);
  expect(values).toEqual([1, 2, 3]);
});

const changes = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ id: fc.nat(3), state: fc.constantFrom(...JOB_STATES) }) },
    { weight: 2, arbitrary: fc.record({ remove: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.constant({ read: true }) },
  ),
  { maxLength: 20 },
);

test('whoever applies the events has what there is, and has seen the last end of every job', async () => {
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const events = new QueueEvents(0);
      const watch = events.watch();
      const known = new Map<number, JobView>();
      const ends = new Map<number, JobState>();
      const apply = (event: QueueEvent) => {
        for (const one of event.jobs) {
          known.set(one.id, one);
          if (hasEnded(one.state)) ends.set(one.id, one.state);
        }
        if (event.type === 'change') for (const id of event.removed) known.delete(id);
      };
      apply(await read(watch));
      const wanted = new Map<number, JobState>();
      for (const change of list) {
        if ('read' in change) {
          events.publish(job(9));
          apply(await read(watch));
        } else if ('remove' in change) events.remove(change.remove);
        else {
          events.publish(job(change.id, change.state));
          if (hasEnded(change.state)) wanted.set(change.id, change.state);
        }
      }
      events.publish(job(9));
      apply(await read(watch));
      expect([...known.values()].sort((a, b) => a.id - b.id)).toEqual(events.jobs().sort((a, b) => a.id - b.id));
      for (const [id, state] of wanted) expect(ends.get(id)).toBe(state);
    }),
    { numRuns: 500 },
  );
});
