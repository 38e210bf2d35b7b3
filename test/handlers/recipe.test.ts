import { join } from 'node:path';
import { createRouterClient } from '@orpc/server';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openApp, type App } from '../../main/app.ts';
import type { Api } from '../../main/contract/api.ts';
import { createJobSchema, type CreateJob } from '../../main/contract/job.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { router } from '../../main/handlers/api.ts';
import { makeDemoModels } from '../../main/pipelines/demo-models.ts';
import { makeImages } from '../library/make-images.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
const dataFolder = join(base, 'data');
const style = { target: 'qwen-image' as const, experts: [{ name: 'style' as const, strength: 0.5 }] };
let app: App;
let api: Api;
beforeAll(async () => {
  makeDemoModels(join(dataFolder, 'models'), () => undefined);
  app = await openApp({ dataFolder, name: 'a test' });
  api = createRouterClient(router, { context: { ...app.services, mode: 'server' } });
  await api.app.settings.set({ device: 'cpu', threads: 1, memory: 2 ** 30, embeddingCacheBytes: 2 ** 24 });
  await api.jobs.pauseQueue({});
});
afterAll(() => app.close());

let seed = 0;
async function set(name: string, count: number): Promise<{ id: number; files: string[]; hashes: string[] }> {
  const { id } = await api.sets.create({ name });
  seed += 20;
  const files = await makeImages(join(base, `images ${seed}`), count, seed);
  const { added } = await app.services.library.setImport.addImages(id, files);
  return { id, files, hashes: added };
}

async function inputOf({ id }: { readonly id: number }): Promise<CreateJob> {
  return createJobSchema.parse((await api.jobs.get({ id })).input);
}

const failure = (asked: Promise<unknown>) => asked.then(() => undefined, errorFromWire);

test('what is missing of an expert is named with its size; what is there is ready', async () => {
  const { experts } = await api.recipe.options({ target: 'qwen-image' });
  expect(experts.map(({ name, isReady }) => [name, isReady])).toEqual([
    ['style', true],
    ['coarse', false],
    ['fine', false],
    ['bias', false],
  ]);
  const coarse = experts[1]?.missing ?? [];
  expect(coarse.map(({ id }) => id)).toEqual(expect.arrayContaining(['qwen2.5-vl-7b', 'qwen-image-i2l-coarse']));
  expect(coarse.map(({ id }) => id)).not.toContain('siglip2-g384');
  expect(coarse.every(({ bytes }) => (bytes ?? 0) > 1e9)).toBe(true);
  expect((await api.recipe.options({ target: 'z-image' })).experts.map(({ name }) => name)).toEqual(['style']);
});

test('a job of a set has its images in their order, by their weights, and the settings', async () => {
  const { id, files, hashes } = await set('Foxes', 3);
  await api.sets.setImage({ id, hash: hashes[0] ?? '', change: { weight: 0 } });
  await api.sets.setImage({ id, hash: hashes[1] ?? '', change: { weight: 2.5 } });
  await api.sets.reorder({ id, hashes: [hashes[2] ?? ''] });
  const job = await api.recipe.create({ setIds: [id], ...style });
  expect(job).toMatchObject({ kind: 'create', title: 'Foxes', state: 'waiting' });
  const input = await inputOf(job);
  expect(input).toMatchObject({ ...style, memory: 2 ** 30, device: 'cpu', threads: 1, skipBad: false, keyForm: 'comfyui' });
  expect(input.cache).toEqual({ folder: join(dataFolder, 'cache', 'embeddings'), limit: 2 ** 24 });
  expect(input.sets).toEqual([
    {
      output: join(dataFolder, 'loras', 'Foxes.safetensors'),
      images: [
        { file: files[2], weight: 1 },
        { file: files[1], weight: 2.5 },
      ],
      library: { name: 'Foxes', setId: id },
    },
  ]);
});

test('with the setting for it, encoders have 8 bits and an estimate reads fewer bytes', async () => {
  const { id } = await set('Quick', 1);
  const full = await api.recipe.estimate({ images: 1, ...style });
  await api.app.settings.set({ fastEncoders: true });
  const { eightBit } = await inputOf(await api.recipe.create({ setIds: [id], ...style }));
  const fast = await api.recipe.estimate({ images: 1, ...style });
  await api.app.settings.set({ fastEncoders: false });
  expect(eightBit).toEqual({ folder: join(dataFolder, 'cache', '8-bit') });
  const bytesOf = ({ networks }: typeof full): number[] => networks.map(({ weightBytes }) => weightBytes);
  expect(bytesOf(fast)[0]).toBeLessThan(bytesOf(full)[0] ?? 0);
  expect(bytesOf(fast)[2]).toBe(bytesOf(full)[2]);
  expect([full, fast].map(({ copies }) => copies.map(({ of }) => of))).toEqual([[], ['siglip2', 'dinov3']]);
});

test('an estimate says how much of the encoders stays ready, unless the user wants none to', async () => {
  const estimate = () => api.recipe.estimate({ images: 1, ...style });
  const stays = await estimate();
  const encoders = stays.networks.filter(({ network }) => network !== 'style');
  expect(stays.residentBytes).toBe(encoders.reduce((sum, { weightBytes }) => sum + weightBytes, 0));
  await api.app.settings.set({ keepEncoders: false });
  const ended = await estimate();
  await api.app.settings.set({ keepEncoders: true });
  expect(ended).toEqual({ ...stays, residentBytes: 0 });
});

test('LoRAs of one job, and of jobs that still wait, never take the same file', async () => {
  const [a, b] = [await set('Sea: night?', 1), await set('Sea: night?', 1)];
  const once = await inputOf(await api.recipe.create({ setIds: [a.id, b.id], ...style }));
  const again = await inputOf(await api.recipe.create({ setIds: [a.id], name: 'sea- night-', ...style }));
  const outputs = [...once.sets, ...again.sets].map(({ output }) => output.toLowerCase());
  expect(new Set(outputs).size).toBe(3);
  expect(outputs.every((output) => output.startsWith(join(dataFolder, 'loras').toLowerCase()))).toBe(true);
  expect(once.sets.map(({ library }) => library?.name)).toEqual(['Sea: night?', 'Sea: night?']);
  expect(again.sets[0]?.library?.name).toBe('sea- night-');
});

test('an estimate opens the models of this machine alone, whatever files it is told of', async () => {
  const asked = { images: 1, ...style };
  const told = { ...asked, models: { 'siglip2-g384': join(base, 'not there.safetensors') } };
  expect(await api.recipe.estimate(told)).toEqual(await api.recipe.estimate(asked));
});

test('an estimate of sets counts what will be made: one LoRA each, without images of weight 0', async () => {
  const [large, small] = [await set('Large', 3), await set('Small', 2)];
  await api.sets.setImage({ id: small.id, hash: small.hashes[0] ?? '', change: { weight: 0 } });
  const both = await api.recipe.estimate({ setIds: [large.id, small.id], ...style });
  const [three, one, four] = await Promise.all([3, 1, 4].map((images) => api.recipe.estimate({ images, ...style })));
  expect(both).toMatchObject({ images: 4, loras: 2, rank: 12, weightBytes: four?.weightBytes });
  expect(both.outputBytes).toBe((three?.outputBytes ?? 0) + (one?.outputBytes ?? 0));
});

test('a set without a usable image, in the trash, or not there makes no job', async () => {
  const { id, hashes } = await set('Faint', 1);
  await api.sets.setImage({ id, hash: hashes[0] ?? '', change: { weight: 0 } });
  const waiting = app.services.queue.list().length;
  expect(await failure(api.recipe.create({ setIds: [id], ...style }))).toMatchObject({ code: 'NO_IMAGES', fields: { set: id } });
  await api.sets.remove({ ids: [id] });
  expect(await failure(api.recipe.create({ setIds: [id], ...style }))).toMatchObject({ code: 'NOT_IN_LIBRARY' });
  expect(await failure(api.recipe.create({ setIds: [987_654], ...style }))).toMatchObject({ code: 'NOT_IN_LIBRARY' });
  expect(await failure(api.recipe.create({ setIds: [], ...style }))).toMatchObject({ code: 'BAD_ARGUMENT' });
  expect(await failure(api.recipe.estimate({ ...style }))).toMatchObject({ code: 'BAD_ARGUMENT' });
  expect(app.services.queue.list()).toHaveLength(waiting);
});

test('experts that can make nothing are refused before there is a job', async () => {
  const { id } = await set('Only bias', 1);
  const asked = api.recipe.create({ setIds: [id], target: 'qwen-image', experts: [{ name: 'bias', strength: 1 }] });
  expect(await failure(asked)).toMatchObject({ code: 'BAD_ARGUMENT' });
  const other = api.recipe.create({ setIds: [id], target: 'z-image', experts: [{ name: 'coarse', strength: 1 }] });
  expect(await failure(other)).toMatchObject({ code: 'BAD_ARGUMENT' });
});
