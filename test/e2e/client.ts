import { createORPCClient } from '@orpc/client';
import { RPCLink } from '@orpc/client/websocket';
import { WebSocket } from 'ws';
import type { Api } from '../../main/contract/api.ts';
import type { RunningApp, ServedApp } from './running-app.ts';
import { windowApi } from './window-port.ts';

/** The contract of a running app, as another window would use it. */
export interface AppClient {
  readonly api: Api;
  /** Has the user choose files or folders, where they can be named in no other way. */
  choose(paths: readonly string[]): Promise<void>;
  close(): void;
}

export async function connect(app: RunningApp): Promise<AppClient> {
  if (app.kind === 'served') return overSocket(app);
  const api = windowApi(app.window);
  const choose = async (paths: readonly string[]): Promise<void> => {
    await app.dialogsGive(paths);
    await api.app.pick({ what: 'folder', title: 'Chosen' });
  };
  // A window's port ends with its window.
  return { api, choose, close: () => undefined };
}

async function overSocket({ url, link }: ServedApp): Promise<AppClient> {
  const token = new URL(link).hash.replace('#token=', '');
  const signedIn = await fetch(`${url}/session`, { method: 'POST', headers: { origin: url }, body: JSON.stringify({ token }) });
  const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  const socket = new WebSocket(`${url.replace('http', 'ws')}/rpc`, { headers: { origin: url, cookie } });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const api: Api = createORPCClient(new RPCLink({ websocket: socket as unknown as globalThis.WebSocket }));
  return { api, choose: () => Promise.resolve(), close: () => socket.close() };
}
