import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openApp, type App } from '../../main/app.ts';
import { hasEnded as isOver } from '../../main/contract/queue.ts';
import { resultSchema } from '../../main/contract/engine.ts';
import { childrenOf, hasEnded, until } from '../chaos/processes.ts';
import { copyModels, photographsJob } from '../parity/photographs-job.ts';
import { tempFolder } from '../unit/temp.ts';

/** The app's queue keeps an engine between jobs, where the user wants it. */
const folder = tempFolder();
const dataFolder = join(folder, 'home');
const models = copyModels(join(folder, 'models'));
const ENDS_WITHIN = 2000;
let count = 0;
let app: App;

beforeEach(async () => {
  app = await openApp({ dataFolder, name: 'a test' });
});
afterEach(() => app.close());

interface Made {
  readonly found: number;
  readonly engines: readonly number[];
  readonly log: readonly string[];
}

/** Makes a LoRA. @returns of how many groups it found the weights, and the engines that are there after it */
async function create(): Promise<Made> {
  const { queue } = app.services;
  const input = photographsJob(join(folder, `${count++}.safetensors`), models);
  const { id } = queue.enqueue({ kind: 'create', title: 'Three photographs', input });
  await expect.poll(() => isOver(queue.get(id).state), { timeout: 30_000, interval: 10 }).toBe(true);
  const { state, result } = queue.get(id);
  expect(state).toBe('done');
  const { networks } = resultSchema.parse((result as { run: unknown }).run);
  const found = networks.reduce((sum, { keptGroups }) => sum + keptGroups, 0);
  return { found, engines: childrenOf(process.pid), log: queue.log(id).map(({ text }) => text) };
}

test('the second job finds what the first left, and the log says what stays; the app takes the engine with it', async () => {
  const first = await create();
  expect(first.found).toBe(0);
  expect(first.engines).toHaveLength(1);
  expect(first.log.at(-1)).toMatch(/^The next job finds [\d.]+ [kM]B of encoders in memory\.$/);
  const second = await create();
  expect(second.found).toBeGreaterThan(0);
  expect(second.engines).toEqual(first.engines);
  await app.close();
  expect(childrenOf(process.pid)).toEqual([]);
  app = await openApp({ dataFolder, name: 'a test' });
});

test('switched off, it ends at once, and none is kept', async () => {
  const { engines } = await create();
  expect(engines).toHaveLength(1);
  await app.services.settings.set({ keepEncoders: false });
  expect(await until(() => engines.every(hasEnded), ENDS_WITHIN)).toBeLessThan(ENDS_WITHIN);
  const next = await create();
  expect(next.found).toBe(0);
  expect(await until(() => childrenOf(process.pid).length === 0, ENDS_WITHIN)).toBeLessThan(ENDS_WITHIN);
});
