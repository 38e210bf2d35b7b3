import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { request, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { openApp, type App } from '../../main/app.ts';
import { listen, serve } from '../../main/server.ts';
import { Assets } from '../../main/web/assets.ts';
import { Sessions, type SessionsOptions } from '../../main/web/sessions.ts';
import { makeSite } from '../../main/web/site.ts';

export interface Serving {
  readonly app: App;
  readonly port: number;
  /** What a browser sends as Host. */
  readonly host: string;
  readonly origin: string;
  readonly sessions: Sessions;
  close(): Promise<void>;
}

/** A built interface of four files. */
export function fakeInterface(folder: string): string {
  mkdirSync(join(folder, 'assets'), { recursive: true });
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>i2L</title>');
  writeFileSync(join(folder, 'assets', 'index-AbCd1234.js'), 'export {};');
  writeFileSync(join(folder, 'assets', 'plain.css'), 'a{}');
  writeFileSync(join(folder, 'notes.txt'), 'not served');
  return folder;
}

/** The app over a data folder, served on a port of its own. */
export async function startServing(
  folder: string,
  options: SessionsOptions & { readonly names?: readonly string[] } = {},
): Promise<Serving> {
  const assets = new Assets(fakeInterface(join(folder, 'renderer')));
  await assets.check();
  const listener = await listen({ host: '127.0.0.1', port: 0, otherPorts: 0 });
  const app = await openApp({ dataFolder: join(folder, 'home'), name: 'a test' });
  const sessions = new Sessions(options);
  const end = serve(listener, {
    app,
    site: makeSite({ assets, library: app.services.library }),
    sessions,
    names: options.names ?? [],
  });
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await end();
    await app.close();
  };
  afterAll(close);
  const host = `127.0.0.1:${listener.port}`;
  return { app, port: listener.port, host, origin: `http://${host}`, sessions, close };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A request as it is written here: a browser's fetch would set Host and Origin itself. */
export function ask(port: number, path: string, options: RequestOptions & { readonly body?: string } = {}): Promise<Answer> {
  const { body, ...rest } = options;
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, agent: false, ...rest }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }));
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Signs a browser in. @returns its cookie */
export async function signIn({ port, origin, sessions }: Serving): Promise<string> {
  const body = JSON.stringify({ token: sessions.token });
  const { status, headers } = await ask(port, '/session', { method: 'POST', headers: { origin }, body });
  const [cookie] = headers['set-cookie'] ?? [];
  if (status !== 204 || cookie === undefined) throw new Error(`signing in was answered with ${status}`);
  return cookie.split(';')[0] ?? '';
}

/** A server with a browser signed in. @returns it, with the headers of the browser's requests */
export async function serveSignedIn(
  folder: string,
): Promise<{ readonly serving: Serving; readonly headers: { readonly cookie: string; readonly origin: string } }> {
  const serving = await startServing(folder);
  return { serving, headers: { cookie: await signIn(serving), origin: serving.origin } };
}

/** What lies in the folder of uploads that are on their way. */
export function uploadsIn(folder: string): string[] {
  const uploads = join(folder, 'home', 'uploads');
  return existsSync(uploads) ? readdirSync(uploads) : [];
}

export interface BytesAnswer {
  readonly status: number;
  readonly body: Buffer;
  readonly type: string;
}

/** A request whose body and answer are bytes; with a body it is a POST. */
export function askBytes(
  port: number,
  path: string,
  { headers, body }: { readonly headers: Record<string, string>; readonly body?: Uint8Array | undefined },
): Promise<BytesAnswer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, agent: false, method: body ? 'POST' : 'GET', headers };
    const sent = request(options, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts), type: answer.headers['content-type'] ?? '' }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
