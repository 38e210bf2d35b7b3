import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';

const root = fileURLToPath(new URL('../..', import.meta.url));
const compiled = join(tmpdir(), 'node-compile-cache');

/** The app over a data folder of its own, with the demo's models as the user's. */
interface App {
  readonly home: string;
  readonly models: string;
  /** Of its main process. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** `i2l serve`, for browsers. */
export interface ServedApp extends App {
  readonly kind: 'served';
  /** E.g. http://127.0.0.1:41234 */
  readonly url: string;
  /** Signs a browser in, as often as it is opened. */
  readonly link: string;
}

/** The desktop app with its window. */
export interface DesktopApp extends App {
  readonly kind: 'desktop';
  readonly window: Page;
  /** What the system's dialogs give from now on; nobody could click in them. */
  dialogsGive(paths: readonly string[]): Promise<void>;
}

export type RunningApp = ServedApp | DesktopApp;

const TOKEN = 'only-for-end-to-end-tests';

/** A data folder with the demo's models; remove it after. */
export async function makeHome(): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), 'i2l-e2e-'));
  writeFileSync(join(home, 'settings.json'), JSON.stringify({ device: 'cpu', language: 'en' }));
  const make = `import { makeDemoModels } from './main/pipelines/demo-models.ts'; makeDemoModels(process.argv[1], () => undefined);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', make, join(home, 'models')], { cwd: root, stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`The demo's models could not be made (${code}).`);
  return home;
}

/** With the dialogs of the window: see app-with-dialogs.ts. */
export function startAppWithDialogs(home: string): Promise<ServedApp> {
  return start(home, {}, ['test/e2e/app-with-dialogs.ts', home, TOKEN]);
}

/** Starts the server over a data folder; may be done again after stop(), or after it was killed. @param env over the test's own */
export function startServer(home: string, env: NodeJS.ProcessEnv = {}): Promise<ServedApp> {
  return start(home, env, ['main/cli.ts', 'serve', '--token', TOKEN, '--json']);
}

async function start(home: string, env: NodeJS.ProcessEnv, args: readonly string[]): Promise<ServedApp> {
  if (!existsSync(join(root, 'out/renderer/index.html'))) throw new Error('The interface is not built: npm run build comes first.');
  const child = spawn(process.execPath, [...args], {
    cwd: root,
    // As the command i2l does: build/i2l.mjs.
    env: { NODE_COMPILE_CACHE: compiled, ...process.env, ...env, I2L_HOME: home },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [link] = await linksOf(child);
  if (link === undefined || child.pid === undefined) throw new Error('The server said nothing of where it is.');
  return {
    kind: 'served',
    url: new URL(link).origin,
    link,
    home,
    models: join(home, 'models'),
    pid: child.pid,
    stop: () => stop(child),
  };
}

async function linksOf(child: ChildProcess): Promise<string[]> {
  if (!child.stdout) return [];
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as { type: string; links?: string[]; error?: { message: string } };
    if (event.error) throw new Error(event.error.message);
    if (event.type === 'serving') {
      child.stdout.resume();
      return event.links ?? [];
    }
  }
  return [];
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

export function removeHome(home: string): void {
  rmSync(home, { recursive: true, force: true });
}
