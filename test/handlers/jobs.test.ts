import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createORPCClient } from '@orpc/client';
import { RPCLink as PortLink } from '@orpc/client/message-port';
import { RPCLink as SocketLink } from '@orpc/client/websocket';
import type { ContractRouterClient } from '@orpc/contract';
import { createRouterClient } from '@orpc/server';
import { RPCHandler as PortHandler } from '@orpc/server/message-port';
import { RPCHandler as SocketHandler } from '@orpc/server/ws';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import type { I2lError } from '../../main/contract/errors.ts';
import type { jobsContract, QueueEvent } from '../../main/contract/queue.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { jobsRouter } from '../../main/handlers/jobs.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import { Bench, calm } from '../jobs/bench-runner.ts';
import { MemoryStore } from '../jobs/memory-store.ts';
import { someNote } from '../jobs/some-note.ts';

type Client = ContractRouterClient<typeof jobsContract>;

let bench: Bench;
let queue: JobQueue;
const closers: (() => void)[] = [];

beforeEach(() => {
  bench = new Bench();
  queue = new JobQueue({
    store: new MemoryStore(),
    runners: [bench.runner('create', 'engine', z.object({ images: z.array(z.string()) }))],
  });
  queue.start();
});

afterEach(async () => {
  for (const close of closers.splice(0)) close();
  for (const run of bench.runs.values()) run.finish();
  await queue.close();
});

/** The three ways in. */
const wires: Readonly<Record<string, () => Promise<Client>>> = {
  direct: () => Promise.resolve(createRouterClient(jobsRouter, { context: { queue } })),
  'message port': () => {
    const { port1, port2 } = new MessageChannel();
    new PortHandler(jobsRouter).upgrade(port1, { context: { queue } });
    port1.start();
    port2.start();
    closers.push(() => port2.close());
    return Promise.resolve(createORPCClient<Client>(new PortLink({ port: port2 })));
  },
  websocket: async () => {
    const http: Server = createServer();
    const server = new WebSocketServer({ server: http });
    const handler = new SocketHandler(jobsRouter);
    server.on('connection', (socket) => void handler.upgrade(socket, { context: { queue } }));
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const socket = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`);
    closers.push(() => {
      socket.terminate();
      server.close();
      http.close();
    });
    return createORPCClient<Client>(new SocketLink({ websocket: socket as unknown as globalThis.WebSocket }));
  },
};

const enqueue = (title = 'Sea') => queue.enqueue({ kind: 'create', title, input: { images: ['a.png'] } });
const failure = async (work: Promise<unknown>): Promise<I2lError> => errorFromWire(await work.then(() => expect.unreachable(), (error: unknown) => error)); // prettier-ignore

describe.each(Object.entries(wires))('over %s', (_, connect) => {
  test('a job from its start to its result', async () => {
    const client = await connect();
    const { id } = enqueue();
    await calm();
    expect(await client.list({ states: ['running'] })).toMatchObject([{ id, title: 'Sea', lane: 'engine' }]);
    bench.of(id).context.log(someNote('a line'));
    bench.of(id).finish({ output: 'sea.safetensors' });
    await calm();
    expect(await client.get({ id })).toMatchObject({
      state: 'done',
      result: { output: 'sea.safetensors' },
      input: { images: ['a.png'] },
    });
    expect(await client.log({ id })).toMatchObject([{ text: 'a line', note: { code: 'WEIGHTS_KEPT', fields: { bytes: 1 } } }]);
    expect(await client.clearFinished({})).toEqual({ removed: [id] });
    expect(await client.list({})).toEqual([]);
  });

  test('every wish reaches the queue', async () => {
    const client = await connect();
    const ids: number[] = [];
    for (const title of ['one', 'two', 'three']) ids.push(enqueue(title).id);
    const [a, b, c] = ids as [number, number, number];
    await calm();
    expect((await client.pause({ id: b })).state).toBe('paused');
    expect((await client.resume({ id: b })).state).toBe('waiting');
    expect((await client.requeue({ id: b })).position).toBeGreaterThan(c);
    expect((await client.setPriority({ id: b, priority: 4 })).priority).toBe(4);
    expect((await client.reorder({ id: c, before: b })).priority).toBe(4);
    expect((await client.list({ states: ['waiting'] })).map(({ id }) => id)).toEqual([c, b]);
    expect((await client.cancel({ id: a })).state).toBe('cancelling');
    expect(await client.pauseQueue({})).toMatchObject({ paused: true });
    bench.rest(a);
    await calm();
    expect((await client.retry({ id: a })).state).toBe('waiting');
    expect((await client.queue()).paused).toBe(true);
    expect(await client.resumeQueue()).toMatchObject({ paused: false });
    await client.cancel({ id: a });
    expect(await client.remove({ id: a })).toEqual({});
  });

  test('an error arrives with its code and fields, and bad input is refused', async () => {
    const client = await connect();
    expect(await failure(client.pause({ id: 7 }))).toMatchObject({ code: 'JOB_NOT_FOUND', fields: { job: 7 } });
    for (const id of [0, -1, 1.5, 'x', null]) expect((await failure(client.get({ id } as never))).code).toBe('BAD_ARGUMENT');
    expect((await failure(client.setPriority({ id: 1, priority: 1e9 }))).code).toBe('BAD_ARGUMENT');
    expect((await failure(client.list({ limit: 1e6 }))).code).toBe('BAD_ARGUMENT');
  });

  test('events: everything first, then changes up to the end; a reader that leaves is forgotten', async () => {
    const client = await connect();
    const { id } = enqueue();
    const stop = new AbortController();
    const events = await client.watch(undefined, { signal: stop.signal });
    const first = (await events.next()).value as QueueEvent;
    expect(first).toMatchObject({ type: 'snapshot', jobs: [{ id }], queue: { paused: false } });
    await calm();
    for (let i = 0; i < 1000; i++) bench.of(id).context.progress({ step: 'style', stage: `${i}`, fraction: i / 1000 });
    bench.of(id).finish();
    const seen: QueueEvent[] = [];
    for await (const event of events) {
      seen.push(event);
      if (event.jobs.some(({ state }) => state === 'done')) break;
    }
    expect(seen.length).toBeLessThan(4);
    expect(seen.at(-1)!.jobs.at(-1)).toMatchObject({ state: 'done', progress: { step: 'style', stage: '999' } });
    stop.abort();
  });

  test('a reader that is aborted while it waits is told so', async () => {
    const client = await connect();
    const stop = new AbortController();
    const events = await client.watch(undefined, { signal: stop.signal });
    await events.next();
    const waiting = events.next().then(({ done }) => done, () => true); // prettier-ignore
    stop.abort();
    expect(await waiting).toBe(true);
  });
});

test('a client that vanishes leaves no listener behind', async () => {
  const client = await wires['websocket']!();
  const watched = new Set<unknown>();
  const watch = queue.events.watch.bind(queue.events);
  queue.events.watch = (signal) => {
    const iterator = watch(signal);
    watched.add(iterator);
    signal?.addEventListener('abort', () => watched.delete(iterator));
    return iterator;
  };
  const events = await client.watch();
  await events.next();
  expect(watched.size).toBe(1);
  closers.splice(0).forEach((close) => close());
  await expect.poll(() => watched.size).toBe(0);
});
