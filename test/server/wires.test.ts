import { isContractProcedure, type AnyContractProcedure } from '@orpc/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { contract } from '../../main/contract/api.ts';
import type { Settings } from '../../main/contract/app.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { signIn, startServing, type Serving } from './serving.ts';
import { directWire, openSocket, portWire, socketWire, type Wire } from './wires.ts';

const WIRES = ['direct', 'port', 'socket'] as const;

let serving: Serving;
const wires = new Map<string, Wire>();
beforeAll(async () => {
  serving = await startServing(tempFolder());
  wires.set('direct', directWire(serving.app));
  wires.set('port', portWire(serving.app));
  wires.set('socket', await socketWire(serving));
});
afterAll(() => {
  for (const wire of wires.values()) wire.close();
});

function wireOf(name: string): Wire {
  return wires.get(name) as Wire;
}

/** Every procedure with its path. */
function procedures(router: object, path: readonly string[] = []): [string, AnyContractProcedure][] {
  if (isContractProcedure(router)) return [[path.join('.'), router]];
  return Object.entries(router).flatMap(([name, part]) => procedures(part as object, [...path, name]));
}

const ALL = procedures(contract);

type Call = (input?: unknown) => Promise<unknown>;

function callOf({ api }: Wire, path: string): Call {
  return path.split('.').reduce<unknown>((part, name) => (part as Record<string, unknown>)[name], api) as Call;
}

/** What a client sees of a call: its value, or the error. Streams are left at once. */
async function outcome(call: Promise<unknown>): Promise<{ readonly value?: unknown; readonly error?: I2lError }> {
  try {
    const value = await call;
    if (isStream(value)) await value.return?.();
    return { value };
  } catch (error) {
    return { error: errorFromWire(error) };
  }
}

function isStream(value: unknown): value is AsyncIteratorObject<unknown, unknown, void> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

describe.each(WIRES)('over the %s wire', (name) => {
  test('there are procedures to try', () => expect(ALL.length).toBeGreaterThan(20));

  test.each(ALL.map(([path]) => path))('%s answers, or says why not', async (path) => {
    const [, procedure] = ALL.find(([other]) => other === path) as [string, AnyContractProcedure];
    const schema = procedure['~orpc'].inputSchema;
    // What a procedure is given that takes nothing is not looked at.
    const { value, error } = await outcome(callOf(wireOf(name), path)());
    if (!schema) return expect(error ?? value, String(error?.message)).not.toBeInstanceOf(Error);
    if (error) expect(error.code).not.toBe('INTERNAL');
  });

  test.each(ALL.filter(([, procedure]) => procedure['~orpc'].inputSchema).map(([path]) => path))(
    '%s refuses what its schema refuses, before anything is done',
    async (path) => {
      const [, procedure] = ALL.find(([other]) => other === path) as [string, AnyContractProcedure];
      const schema = procedure['~orpc'].inputSchema;
      const before = JSON.stringify(serving.app.services.queue.list());
      await fc.assert(
        fc.asyncProperty(fc.jsonValue(), async (input) => {
          const checked = await schema?.['~standard'].validate(input);
          fc.pre(checked?.issues !== undefined);
          const { error } = await outcome(callOf(wireOf(name), path)(input));
          expect(error?.code, JSON.stringify(input)).toBe('BAD_ARGUMENT');
          expect(error?.fields['issues']).toBeInstanceOf(Array);
        }),
        { numRuns: 25 },
      );
      expect(JSON.stringify(serving.app.services.queue.list())).toBe(before);
    },
  );

  test('an error comes with its code, fields and message', async () => {
    const { error } = await outcome(wireOf(name).api.jobs.get({ id: 123_456 }));
    expect(error).toBeInstanceOf(I2lError);
    expect(error?.toShape()).toEqual({ code: 'JOB_NOT_FOUND', message: 'There is no job 123456.', fields: { job: 123_456 } });
  });

  test('what is not in the contract is not there', async () => {
    const { error } = await outcome(
      callOf(wireOf(name), 'app.info')().then(() => (wireOf(name).api as unknown as { app: { shutdown: Call } }).app.shutdown()),
    );
    expect(error).toBeDefined();
  });

  test('who asks is known', async () => {
    expect((await wireOf(name).api.app.info()).mode).toBe(name === 'socket' ? 'server' : 'desktop');
  });
});

describe('several windows', () => {
  test('what one sets, the others hear', async () => {
    const other = await socketWire(serving);
    const streams = await Promise.all([wireOf('socket'), wireOf('port'), other].map(({ api }) => api.app.settings.watch()));
    const next = async (): Promise<Settings[]> =>
      Promise.all(streams.map(async (stream) => (await stream.next()).value as Settings));
    expect(new Set((await next()).map(({ theme }) => theme))).toEqual(new Set(['system']));
    await other.api.app.settings.set({ theme: 'dark' });
    expect((await next()).map(({ theme }) => theme)).toEqual(['dark', 'dark', 'dark']);
    await Promise.all(streams.map((stream) => stream.return?.()));
    await other.api.app.settings.set({ theme: 'system' });
    other.close();
  });

  test('a window that goes away is no longer told', async () => {
    const before = serving.app.services.settings.listenerCount;
    const other = await socketWire(serving);
    const stream = await other.api.app.settings.watch();
    await stream.next();
    expect(serving.app.services.settings.listenerCount).toBe(before + 1);
    other.close();
    await expect.poll(() => serving.app.services.settings.listenerCount).toBe(before);
  });
});

describe('a socket', () => {
  const statusOf = (headers: Record<string, string>, path?: string): Promise<number> =>
    new Promise((resolve) => {
      const socket = openSocket(serving, headers, path);
      socket.on('open', () => {
        resolve(101);
        socket.close();
      });
      socket.on('unexpected-response', (_request, { statusCode }) => resolve(statusCode ?? 0));
      socket.on('error', () => undefined);
    });

  test('needs the cookie, our own origin and our own name', async () => {
    const { origin } = serving;
    const cookie = await signIn(serving);
    expect(await statusOf({ origin, cookie })).toBe(101);
    expect(await statusOf({ origin })).toBe(401);
    expect(await statusOf({ cookie })).toBe(400);
    expect(await statusOf({ origin: 'http://evil.example', cookie })).toBe(403);
    expect(await statusOf({ origin: 'null', cookie })).toBe(403);
    expect(await statusOf({ origin: `${origin}0`, cookie })).toBe(403);
    expect(await statusOf({ origin: 'http://evil.example', host: 'evil.example', cookie })).toBe(421);
    expect(await statusOf({ origin, cookie, 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await statusOf({ origin, cookie }, '/')).toBe(400);
    expect(await statusOf({ origin, cookie }, '/rpc?x')).toBe(400);
  });

  test('that sends too much, or what is no message, ends alone', async () => {
    const cookie = await signIn(serving);
    const socket = openSocket(serving, { origin: serving.origin, cookie });
    await new Promise((resolve) => socket.once('open', resolve));
    socket.on('error', () => undefined);
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    socket.send(new Uint8Array(17 * 2 ** 20));
    expect(await closed).toBe(1009);
    expect((await wireOf('socket').api.app.info()).mode).toBe('server');
  });
});

test('closing tells every browser, and frees port and data folder', async () => {
  const folder = tempFolder();
  const first = await startServing(folder);
  const wire = await socketWire(first);
  const watching = await wire.api.jobs.watch();
  await watching.next();
  const waiting = outcome(watching.next());
  await first.close();
  await waiting;
  const second = await startServing(folder);
  expect((await directWire(second.app).api.app.info()).version).toBe((await wireOf('direct').api.app.info()).version);
  await second.close();
});
