import { MessageChannel } from 'node:worker_threads';
import { createORPCClient } from '@orpc/client';
import { RPCLink as PortLink } from '@orpc/client/message-port';
import { RPCLink as SocketLink } from '@orpc/client/websocket';
import { createRouterClient } from '@orpc/server';
import { RPCHandler as PortHandler } from '@orpc/server/message-port';
import { WebSocket } from 'ws';
import type { App } from '../../main/app.ts';
import type { Api } from '../../main/contract/api.ts';
import { router } from '../../main/handlers/api.ts';
import { signIn, type Serving } from './serving.ts';

export interface Wire {
  readonly api: Api;
  close(): void;
}

export function directWire({ services }: App, mode: 'desktop' | 'server' = 'desktop'): Wire {
  return { api: createRouterClient(router, { context: { ...services, mode } }), close: () => undefined };
}

/** As between the window and the app. */
export function portWire({ services }: App): Wire {
  const { port1, port2 } = new MessageChannel();
  new PortHandler(router).upgrade(port1, { context: { ...services, mode: 'desktop' } });
  const api: Api = createORPCClient(new PortLink({ port: port2 }));
  port1.start();
  port2.start();
  return { api, close: () => port2.close() };
}

export function openSocket({ host }: Serving, headers: Record<string, string>, path = '/rpc'): WebSocket {
  return new WebSocket(`ws://${host}${path}`, { headers });
}

/** As a browser's tab, signed in. */
export async function socketWire(serving: Serving, cookie?: string): Promise<Wire> {
  const socket = openSocket(serving, { origin: serving.origin, cookie: cookie ?? (await signIn(serving)) });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.on('error', () => undefined);
  const api: Api = createORPCClient(new SocketLink({ websocket: socket as unknown as globalThis.WebSocket }));
  return { api, close: () => socket.close() };
}
