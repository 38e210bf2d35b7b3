import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import { RPCHandler } from '@orpc/server/ws';
import { WebSocketServer } from 'ws';
import type { App } from './app.ts';
import { I2lError, systemCode } from './contract/errors.ts';
import { router } from './handlers/api.ts';
import { emptyAnswer, errorAnswer } from './web/answers.ts';
import { Gate, type Refusal } from './web/gate.ts';
import { requestOf, send } from './web/node-http.ts';
import { Sessions } from './web/sessions.ts';
import { SIGN_IN_PATH, signIn } from './web/sign-in.ts';
import { isPrivate, withSecurityHeaders, type Site } from './web/site.ts';

/** Server mode: the interface and the contract for browsers. */

export const RPC_PATH = '/rpc';
const LARGEST_MESSAGE = 16 * 2 ** 20;
const HEARTBEAT_MS = 30_000;
/** A browser that reads this much too slowly is gone or asleep. */
const MOST_UNSENT = 64 * 2 ** 20;
const CLOSE_MS = 2000;
const GOING_AWAY = 1001;

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Ports to try after `port` where that one is taken. */
  readonly otherPorts: number;
}

/** A port that is ours, before anything is served on it. */
export interface Listener {
  readonly http: Server;
  readonly port: number;
}

/** @throws I2lError BAD_ARGUMENT where no port can be had, or the host is not of this machine */
export async function listen({ host, port, otherPorts }: ListenOptions): Promise<Listener> {
  const http = createServer({ requestTimeout: 0, headersTimeout: 20_000 });
  for (let next = port; ; next += 1) {
    try {
      await new Promise<void>((resolve, reject) => {
        http.once('error', reject).listen(next, host, () => {
          http.off('error', reject);
          resolve();
        });
      });
      return { http, port: (http.address() as AddressInfo).port };
    } catch (error) {
      if (systemCode(error) === 'EADDRINUSE' && next < port + otherPorts) continue;
      throw listenError(error, host, next);
    }
  }
}

function listenError(error: unknown, host: string, port: number): I2lError {
  const code = systemCode(error);
  const message =
    code === 'EADDRINUSE'
      ? `Port ${port} of ${host} is taken; choose another with --port.`
      : code === 'EACCES'
        ? `Port ${port} of ${host} may not be used by this user; choose one above 1023 with --port.`
        : `${host} is no address of this machine that can be served (${code ?? String(error)}); see --host.`;
  return new I2lError('BAD_ARGUMENT', message, { host, port }, error);
}

export interface ServeOptions {
  readonly app: App;
  readonly site: Site;
  readonly sessions: Sessions;
  /** Names by which browsers may call this server, beside addresses in numbers and this machine's own. */
  readonly names?: readonly string[];
}

/** Serves on a listener until closed. @returns what ends it: browsers are told, requests under way may finish */
export function serve({ http, port }: Listener, { app, site, sessions, names = [] }: ServeOptions): () => Promise<void> {
  const own = hostname();
  const allowed = ['localhost', own, `${own}.local`, ...names].map((name) => name.toLowerCase());
  const gate = new Gate({ sessions, names: allowed, cookie: `i2l_${port}` });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST_MESSAGE, perMessageDeflate: false });
  const rpc = new RPCHandler(router);
  sockets.on('connection', (socket) => {
    socket.on('error', () => socket.terminate());
    void rpc.upgrade(socket, { context: { ...app.services, mode: 'server' } });
  });
  http.on('request', (message, response) => void answer(message, response, { gate, site, sessions }));
  http.on('upgrade', (message, socket, head) => {
    const refused = gate.refuseForeign(message) ?? refuseSocket(message) ?? gate.refuseStranger(message);
    if (refused) return refuseUpgrade(socket, refused);
    sockets.handleUpgrade(message, socket, head, (opened) => sockets.emit('connection', opened, message));
  });
  const heartbeat = keepAlive(sockets);
  return async () => {
    clearInterval(heartbeat);
    await closeAll(http, sockets);
  };
}

interface Parts {
  readonly gate: Gate;
  readonly site: Site;
  readonly sessions: Sessions;
}

async function answer(message: IncomingMessage, response: ServerResponse, parts: Parts): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    const found = await route(message, gone.signal, parts).catch((error: unknown) => errorAnswer(error));
    await send(withSecurityHeaders(found), response, { headOnly: message.method === 'HEAD' });
  } catch {
    // The browser went away, or the file could not be read on: half an answer must not look whole.
    response.destroy();
  }
}

async function route(message: IncomingMessage, signal: AbortSignal, { gate, site, sessions }: Parts): Promise<Response> {
  const foreign = gate.refuseForeign(message);
  if (foreign) return errorAnswer(foreign.error, foreign.status);
  const request = requestOf(message, signal);
  const { pathname } = new URL(request.url);
  if (pathname === SIGN_IN_PATH && request.method === 'POST') return signIn(request, sessions, gate);
  if (pathname === SIGN_IN_PATH || isPrivate(request)) {
    const stranger = gate.refuseStranger(message);
    if (stranger) return errorAnswer(stranger.error, stranger.status);
  }
  // GET /session: whether this browser has signed in.
  return pathname === SIGN_IN_PATH ? emptyAnswer(204) : site(request);
}

function refuseSocket({ url, headers }: IncomingMessage): Refusal | undefined {
  // A browser says where a socket's page is from; what doesn't is none.
  if (url === RPC_PATH && headers.origin !== undefined) return undefined;
  return { status: 400, error: new I2lError('BAD_ARGUMENT', `Sockets are at ${RPC_PATH}, from a page of this server.`) };
}

function refuseUpgrade(socket: Duplex, { status, error }: Refusal): void {
  const body = JSON.stringify({ error: error.toShape() });
  const head = [`HTTP/1.1 ${status} Refused`, 'Connection: close', 'Content-Type: application/json'];
  socket.on('error', () => socket.destroy());
  socket.end([...head, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n'));
}

/** Ends sockets whose other end no longer answers: a laptop that sleeps, a network that is gone. */
function keepAlive(sockets: WebSocketServer): NodeJS.Timeout {
  const silent = new WeakSet<object>();
  return setInterval(() => {
    for (const socket of sockets.clients) {
      if (silent.has(socket) || socket.bufferedAmount > MOST_UNSENT) {
        socket.terminate();
        continue;
      }
      silent.add(socket);
      socket.once('pong', () => silent.delete(socket)).ping();
    }
  }, HEARTBEAT_MS).unref();
}

async function closeAll(http: Server, sockets: WebSocketServer): Promise<void> {
  const closed = new Promise<void>((resolve) => http.close(() => resolve()));
  for (const socket of sockets.clients) socket.close(GOING_AWAY, 'i2l serve is closing');
  http.closeIdleConnections();
  const late = setTimeout(() => {
    for (const socket of sockets.clients) socket.terminate();
    http.closeAllConnections();
  }, CLOSE_MS);
  await closed;
  clearTimeout(late);
}
