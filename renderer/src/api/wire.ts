import type { ClientContext, ClientLink } from '@orpc/client';
import { RPCLink as PortLink } from '@orpc/client/message-port';
import { RPCLink as SocketLink } from '@orpc/client/websocket';

/** One open wire to the app. When it ends, whatever was under way on it has failed. */
export interface Wire {
  readonly link: ClientLink<ClientContext>;
  /** Settles when the wire is gone. */
  readonly ended: Promise<void>;
}

export function isDesktop(): boolean {
  return location.protocol === 'i2l:';
}

/**
 * Over the port that the preload script hands to the page, or a WebSocket to the server that the page came from.
 * @throws SignedOut where the server doesn't know this browser; anything else means that nobody answers
 */
export async function openWire(): Promise<Wire> {
  if (isDesktop()) return openPort();
  await signIn(takeToken());
  return openSocket(socketAddress(location));
}

/** This browser has no session: it has to be opened by the link that the server shows. */
export class SignedOut extends Error {}

function openPort(): Promise<Wire> {
  return new Promise((resolve) => {
    const onMessage = (event: MessageEvent): void => {
      const [port] = event.ports;
      if (event.source !== window || event.data !== 'i2l:port' || !port) return;
      window.removeEventListener('message', onMessage);
      const ended = new Promise<void>((end) => port.addEventListener('close', () => end(), { once: true }));
      port.start();
      resolve({ link: new PortLink({ port }), ended });
    };
    window.addEventListener('message', onMessage);
    window.postMessage('i2l:want-port', location.origin);
  });
}

function openSocket(address: string): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const websocket = new WebSocket(address);
    const ended = new Promise<void>((end) => websocket.addEventListener('close', () => end(), { once: true }));
    websocket.addEventListener('open', () => resolve({ link: new SocketLink({ websocket }), ended }), { once: true });
    websocket.addEventListener('error', () => reject(new Error('The server does not answer.')), { once: true });
  });
}

export function socketAddress(page: { readonly protocol: string; readonly host: string }): string {
  return `${page.protocol === 'https:' ? 'wss:' : 'ws:'}//${page.host}/rpc`;
}

const TOKEN = /^#token=([^&]+)/;

/** Whether the address holds a token that nobody has taken. */
export function bringsToken(): boolean {
  return TOKEN.test(location.hash);
}

/** The token comes once, in the address's fragment, and is taken out of sight. */
export function takeToken(): string | undefined {
  const token = TOKEN.exec(location.hash)?.[1];
  if (token !== undefined) history.replaceState(null, '', `${location.pathname}${location.search}`);
  return token === undefined ? undefined : decodeURIComponent(token);
}

/** The session is a cookie that scripts don't see. A token that was used is no harm where there is a session. */
async function signIn(token: string | undefined): Promise<void> {
  if (token !== undefined) {
    const body = JSON.stringify({ token });
    const answer = await fetch('/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    if (answer.ok) return;
  }
  if ((await fetch('/session')).status === 401) throw new SignedOut();
}
