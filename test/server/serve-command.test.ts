import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { endOf, runCli, startCli, type CliRun } from '../cli/run-cli.ts';
import { tempFolder } from '../unit/temp.ts';
import { ask, fakeInterface } from './serving.ts';

const built = fakeInterface(join(tempFolder(), 'renderer'));

interface Served {
  readonly port: number;
  readonly links: readonly string[];
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string>;
  readonly end: Promise<CliRun>;
}

/** Starts `i2l serve --json` and waits until it says where. */
async function startServe(args: readonly string[], home: string): Promise<Served> {
  const child = startCli(['serve', '--interface', built, '--json', ...args], { env: { I2L_HOME: home } });
  onTestFinished(() => void child.kill('SIGKILL'));
  const end = endOf(child);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  for (;;) {
    const event = JSON.parse((await lines.next()).value as string) as { type: string; port: number; links: string[] };
    if (event.type === 'serving') return { port: event.port, links: event.links, child, lines, end };
  }
}

async function takenPort(): Promise<{ readonly port: number; readonly server: Server }> {
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, server };
}

test('serves on loopback, shows a new link when one is used, names itself to a second one, and ends by Ctrl-C', async () => {
  const home = tempFolder();
  const { port, links, child, lines, end } = await startServe([], home);
  const origin = `http://127.0.0.1:${port}`;
  expect(links).toEqual([expect.stringMatching(new RegExp(`^${origin}/#token=[\\w-]{43}$`))]);
  expect((await ask(port, '/')).status).toBe(200);

  const body = JSON.stringify({ token: new URL(links[0]!).hash.slice('#token='.length) });
  expect((await ask(port, '/session', { method: 'POST', headers: { origin }, body })).status).toBe(204);
  const next = JSON.parse((await lines.next()).value as string) as { links: string[] };
  expect(next.links[0]).toMatch(/#token=/);
  expect(next.links).not.toEqual(links);

  const second = await runCli(['serve', '--interface', built], { env: { I2L_HOME: home } });
  expect(second.code).toBe(1);
  expect(second.stderr).toContain(`in use by i2l serve at ${origin} (process`);
  expect(second.stderr).not.toContain('token');

  child.kill('SIGINT');
  expect(await end).toMatchObject({ code: 0, stderr: '' });
});

test('takes the next port where its own is taken, but not in place of one that was asked for', async () => {
  const { port } = await takenPort();
  const refused = await runCli(['serve', '--interface', built, '--port', String(port)]);
  expect(refused).toMatchObject({ code: 2, stderr: `i2l: Port ${port} of 127.0.0.1 is taken; choose another with --port.\n` });
  const [first, second] = [await startServe([], tempFolder()), await startServe([], tempFolder())];
  expect(second.port).toBeGreaterThan(first.port);
});

test('on all addresses it warns, and still wants its token', async () => {
  const { port, links, child, end } = await startServe(
    ['--host', '0.0.0.0', '--token', 'sixteen letters.'.replace(' ', '-')],
    tempFolder(),
  );
  expect(links[0]).toBe(`http://127.0.0.1:${port}/#token=sixteen-letters.`);
  expect((await ask(port, '/media/x')).status).toBe(401);
  child.kill('SIGTERM');
  const { stdout } = await end;
  expect(stdout).toContain('not encrypted');
});

test.each([
  [['--port', '0'], 2, /port from 1 to 65535/],
  [['--port', 'x'], 2, /port from 1 to 65535/],
  [['--token', 'short'], 2, /at least 16/],
  [['--token', 'sixteen letters#here'], 2, /letters, digits/],
  [['--host', '203.0.113.77'], 2, /no address of this machine/],
  [['--interface', '/nowhere'], 1, /the interface is not built; run npm run build/],
])('%j is refused in one line', async (args, code, says) => {
  const run = await runCli(['serve', '--interface', built, ...args], { env: { I2L_HOME: tempFolder() } });
  expect(run.code).toBe(code);
  expect(run.stderr).toMatch(says);
  expect(run.stderr).not.toMatch(/\n\s+at /);
});
