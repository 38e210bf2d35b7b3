import { join } from 'node:path';
import { createRouterClient } from '@orpc/server';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openApp, type App } from '../../main/app.ts';
import type { Api } from '../../main/contract/api.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { router } from '../../main/handlers/api.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let app: App;
let api: Api;
beforeAll(async () => {
  app = await openApp({ dataFolder: join(base, 'data of my-name'), name: 'a test' });
  api = createRouterClient(router, { context: { ...app.services, mode: 'server' } });
});
afterAll(() => app.close());

test('diagnostics hold machine, settings, devices and the latest errors, and no file names', async () => {
  await api.app.settings.set({ device: 'cpu', modelsFolder: join(base, 'my-name') });
  const file = join(base, 'my-name', 'gone.safetensors');
  const input = { kind: 'spectrum', file, output: `${file}.out`, memory: 2 ** 30, device: 'cpu', threads: 1 };
  const { id } = await api.jobs.enqueue({ kind: 'spectrum', title: 'my-name', input });
  await expect.poll(async () => hasEnded((await api.jobs.get({ id })).state), { timeout: 30_000 }).toBe(true);
  const { text } = await api.app.diagnostics();
  expect(text).toMatch(/^i2L Studio \d+\.\d+\.\d+ \(server\)\n/);
  expect(text).toMatch(/^cpu: not tested, auto$/m);
  expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ spectrum failed: FILE_NOT_FOUND, .*attempt 1$/m);
  expect(text).toContain('"modelsFolder":"own"');
  expect(text).not.toContain('my-name');
});
