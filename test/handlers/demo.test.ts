import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Api } from '../../main/contract/api.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { startServing } from '../server/serving.ts';
import { directWire, socketWire } from '../server/wires.ts';
import { tempFolder } from '../unit/temp.ts';

/** The demo over the contract: from nothing to a LoRA that says of itself that it means nothing. */
const serving = await startServing(tempFolder());
const home = serving.app.services.dataFolder;
const { api } = directWire(serving.app, 'server');
await api.app.settings.set({ device: 'cpu' });

async function queued(asked: Api, images: readonly string[], name: string): Promise<number> {
  const { id: set } = await asked.sets.create({ name });
  for await (const event of await asked.sets.addImages({ id: set, files: [...images] }))
    if (event.type === 'done') expect(event.failed).toEqual([]);
  const { id } = await asked.recipe.create({ setIds: [set], target: 'qwen-image', experts: [{ name: 'style', strength: 1 }] });
  return id;
}

async function made(asked: Api, images: readonly string[], name: string): Promise<Awaited<ReturnType<Api['jobs']['get']>>> {
  const id = await queued(asked, images, name);
  await expect.poll(async () => hasEnded((await asked.jobs.get({ id })).state), { timeout: 30_000, interval: 50 }).toBe(true);
  return asked.jobs.get({ id });
}

test('models and images are made once, whoever asks over whichever wire, and new jobs take them', async () => {
  expect((await api.app.settings.get()).demoModels).toBe(false);
  const browser = await socketWire(serving);
  const [first, second] = await Promise.all([api.demo.prepare({}), browser.api.demo.prepare({})]);
  expect(second).toEqual(first);
  expect(first.images.length).toBeGreaterThan(1);
  expect(first.images.every((file) => existsSync(file))).toBe(true);
  expect((await api.app.settings.get()).demoModels).toBe(true);
  const estimate = await browser.api.recipe.estimate({
    images: 2,
    target: 'qwen-image',
    experts: [{ name: 'style', strength: 1 }],
  });
  expect(estimate.rank).toBe(8);
  browser.close();

  const done = await made(api, first.images, 'demo');
  expect(done.state, JSON.stringify(done.error)).toBe('done');
  expect(done.input).toMatchObject({ models: first.modelsFolder });
  expect(readFileSync(join(home, 'loras', 'demo.safetensors')).includes('no meaning')).toBe(true);
});

test('a job keeps the demo models that it was made for; without the demo the real ones are missing', async () => {
  const { images, modelsFolder } = await api.demo.prepare({});
  await api.jobs.pauseQueue({});
  const id = await queued(api, images, 'kept');
  await api.app.settings.set({ demoModels: false });
  expect((await api.jobs.get({ id })).input).toMatchObject({ models: modelsFolder });
  await api.jobs.cancel({ id });
  await api.jobs.resumeQueue();
  expect(await made(api, images, 'real')).toMatchObject({ state: 'failed', error: { code: 'MODEL_MISSING' } });
});

test('what the user deleted of it comes again; what the user changed stays', async () => {
  const { images, modelsFolder } = await api.demo.prepare({});
  const [gone = '', changed = ''] = images;
  rmSync(gone);
  writeFileSync(changed, 'mine');
  rmSync(join(modelsFolder, 'dinov3-7b'), { recursive: true });
  expect(await api.demo.prepare({})).toEqual({ images, modelsFolder });
  expect(existsSync(gone) && existsSync(join(modelsFolder, 'dinov3-7b', 'model.safetensors'))).toBe(true);
  expect(readFileSync(changed, 'utf8')).toBe('mine');
});
