import { networkInterfaces } from 'node:os';
import { isIP } from 'node:net';
import { fileURLToPath } from 'node:url';
import { openApp } from '../app.ts';
import { I2lError } from '../contract/errors.ts';
import { dataFolder } from '../data-folder.ts';
import { listen, serve } from '../server.ts';
import { Assets } from '../web/assets.ts';
import { Sessions } from '../web/sessions.ts';
import { makeSite } from '../web/site.ts';
import type { CommandContext } from './commands.ts';

/** i2l serve: the app in a browser. */

export interface ServeCommandOptions {
  readonly host: string;
  /** Only this one; else the first that is free from {@link DEFAULT_PORT} on. */
  readonly port?: number;
  readonly token?: string;
  readonly allowHost?: readonly string[];
  /** Another built interface than ours. */
  readonly interface?: string;
}

const DEFAULT_PORT = 8225;
const OTHER_PORTS = 50;
const SHORTEST_TOKEN = 16;

/** Runs until it is interrupted. */
export async function serveApp({ report, signal }: CommandContext, options: ServeCommandOptions): Promise<void> {
  const { host, port, token, allowHost = [] } = options;
  if (token !== undefined) checkToken(token);
  const assets = new Assets(options.interface ?? fileURLToPath(new URL('../../out/renderer', import.meta.url)));
  await assets.check();
  const listener = await listen({ host, port: port ?? DEFAULT_PORT, otherPorts: port === undefined ? OTHER_PORTS : 0 });
  const addresses = addressesOf(host, listener.port);
  const tell = (words: string, shown: string): void => {
    const links = addresses.map((address) => `${address}/#token=${shown}`);
    report.result([words, ...links.map((link) => `  ${link}`)].join('\n'), { type: 'serving', port: listener.port, links });
  };
  const sessions = new Sessions({ token, onNewToken: (next) => tell('That link is used up. For another browser:', next) });
  try {
    const app = await openApp({ dataFolder: dataFolder(), name: `i2l serve at ${addresses[0] ?? host}` });
    const close = serve(listener, { app, site: makeSite({ assets, library: app.services.library }), sessions, names: allowHost });
    try {
      if (!isLoopback(host)) report.remark(openWarning(host));
      tell('i2L Studio is served; Ctrl-C ends it. Open:', sessions.token);
      await interrupted(signal);
    } finally {
      await close();
      await app.close();
    }
  } finally {
    listener.http.close();
  }
}

function checkToken(token: string): void {
  if (token.length >= SHORTEST_TOKEN && /^[\w.~-]+$/.test(token)) return;
  const message = `--token takes at least ${SHORTEST_TOKEN} letters, digits, and any of . _ ~ - (without it, one is made).`;
  throw new I2lError('BAD_ARGUMENT', message, { option: 'token' });
}

function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

function openWarning(host: string): string {
  return `--host ${host}: every machine that reaches this one can ask for the page, and what goes to and fro is not encrypted. Only who has a link below gets in; use it in networks that you trust, or through an SSH tunnel.`;
}

/** Where browsers find the server; of all interfaces, each by its own address. */
function addressesOf(host: string, port: number): string[] {
  const all = host === '0.0.0.0' || host === '::';
  const others = all ? Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []) : [];
  const hosts = all
    ? ['127.0.0.1', ...others.filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => address)]
    : [host];
  return hosts.map((name) => `http://${isIP(name) === 6 ? `[${name}]` : name}:${port}`);
}
