import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRouterClient, type RouterClient } from '@orpc/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { pulledFilesSchema, verifiedFilesSchema } from '../../main/contract/models-api.ts';
import type { I2lError } from '../../main/contract/errors.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { modelsRouter } from '../../main/handlers/models.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import { ModelStore } from '../../main/pipelines/model-store.ts';
import { modelRunners } from '../../main/runners/model-jobs.ts';
import { CATALOGUE, catalogueEntry } from '../../main/weights/catalogue.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { MemoryStore } from '../jobs/memory-store.ts';
import { randomBytes } from '../models/downloads.ts';
import { HubServer } from '../models/hub-server.ts';
import { tempFolder } from '../unit/temp.ts';

/** What the Models screen asks, and the jobs behind it, with hubs of our own. */
const root = tempFolder();
const bias = catalogueEntry('qwen-image-i2l-bias');
const lora = readFileSync(makeLargeLora(join(root, 'lora.safetensors')));
let server: HubServer;
let home: string;
let queue: JobQueue;
let models: RouterClient<typeof modelsRouter>;

beforeEach(async () => {
  server = await HubServer.start();
  server.add(bias.hubs.huggingface, bias.file, lora);
  home = mkdtempSync(join(root, 'home-'));
  const store = new ModelStore({
    dataFolder: join(home, 'data'),
    folders: () => ({ modelsFolder: join(home, 'models'), surroundings: { home, env: {}, platform: process.platform } }),
    env: { HF_ENDPOINT: server.hubUrl, MODELSCOPE_ENDPOINT: server.hubUrl },
    token: async (hub) => (hub === 'huggingface' ? 'hf_kept' : undefined),
  });
  queue = new JobQueue({ store: new MemoryStore(), runners: modelRunners(async () => store) });
  queue.start();
  models = createRouterClient(modelsRouter, { context: { queue, models: async () => store } });
});
afterEach(async () => {
  await queue.close();
  await server.stop();
});

/** Several blocks, so that a download of it can be stopped in the middle. */
function makeLargeLora(path: string): string {
  const size = 20 * 2 ** 20;
  writeSafetensors(path, [{ name: 'x.lora_A.weight', dtype: 'F32', shape: [size / 4], bytes: randomBytes(size, 4) }]);
  return path;
}

async function failure(work: Promise<unknown>): Promise<I2lError> {
  try {
    await work;
  } catch (error) {
    return errorFromWire(error);
  }
  return expect.unreachable('it was expected to fail');
}

async function ended(id: number): Promise<ReturnType<JobQueue['get']>> {
  await expect.poll(() => hasEnded(queue.get(id).state), { timeout: 30_000, interval: 10 }).toBe(true);
  return queue.get(id);
}

const target = (): string => join(home, 'models', bias.hubs.huggingface, bias.file);

test('from missing to here, verified, mended and removed', async () => {
  const before = await models.list({});
  expect(before.map(({ id }) => id)).toEqual(CATALOGUE.map(({ id }) => id));
  expect(before.every(({ state }) => state === 'missing')).toBe(true);

  const job = await models.pull({ models: [bias.id] });
  expect(job).toMatchObject({ kind: 'download', lane: 'download', title: 'Download Qwen-Image Bias LoRA' });
  const pulled = await ended(job.id);
  expect(pulled.state, JSON.stringify(pulled.error)).toBe('done');
  expect(pulledFilesSchema.parse(pulled.result).files).toEqual([
    { model: bias.id, path: target(), size: lora.length, received: lora.length },
  ]);
  expect(readFileSync(target()).equals(lora)).toBe(true);
  expect(pulled.progress).toMatchObject({
    step: bias.id,
    stage: bias.file,
    fraction: 1,
    bytesDone: lora.length,
    bytesTotal: lora.length,
  });
  expect(JSON.stringify([pulled, queue.log(job.id)]), "a token is nobody's business").not.toContain('hf_kept');

  const after = (await models.list({})).find(({ id }) => id === bias.id);
  expect(after).toMatchObject({ state: 'here', isDownloaded: true, found: { source: 'app' } });
  expect(await models.scan({})).toMatchObject({ models: [{ id: bias.id, path: target() }], others: 0, troubles: [] });

  const damaged = Buffer.from(lora);
  damaged.writeUInt8(damaged.readUInt8(9_000_000) ^ 1, 9_000_000);
  writeFileSync(target(), damaged);
  const look = await ended((await models.verify({})).id);
  expect(verifiedFilesSchema.parse(look.result).files).toMatchObject([{ state: 'damaged', damagedBlocks: 1 }]);
  server.asked.length = 0;
  const mended = await ended((await models.verify({ models: [bias.id], repair: true })).id);
  expect(verifiedFilesSchema.parse(mended.result).files).toMatchObject([{ state: 'good', damagedBlocks: 0 }]);
  expect(readFileSync(target()).equals(lora)).toBe(true);

  expect(await models.remove({ models: [bias.id] })).toEqual({ removed: [{ path: target(), bytes: lora.length }] });
  expect(existsSync(target())).toBe(false);
  expect((await failure(models.remove({ models: [bias.id] }))).code).toBe('BAD_ARGUMENT');
});

test('paused in the middle it goes on where it was', async () => {
  let isHeld = true;
  server.fault = ({ server: which, range }) => which === 'storage' && isHeld && (range?.start ?? 0) > 8 * 2 ** 20;
  const { id } = await models.pull({ models: [bias.id], source: 'huggingface', connections: 2 });
  await expect
    .poll(() => existsSync(`${target()}.part.jsonl`) && readFileSync(`${target()}.part.jsonl`, 'utf8').includes('"block"'), {
      timeout: 10_000,
    })
    .toBe(true);
  queue.pause(id);
  await expect.poll(() => queue.get(id).state, { timeout: 10_000 }).toBe('paused');
  expect((await models.list({})).find((model) => model.id === bias.id)).toMatchObject({ state: 'partial' });
  expect(existsSync(target())).toBe(false);
  isHeld = false;
  queue.resume(id);
  const done = await ended(id);
  expect(done.state, JSON.stringify(done.error)).toBe('done');
  const [file] = pulledFilesSchema.parse(done.result).files;
  expect(file?.received).toBeLessThan(lora.length);
  expect(readFileSync(target()).equals(lora)).toBe(true);
});

describe('licences', () => {
  test('are shown, and have to be accepted before a job is made', async () => {
    expect(await models.licence({ model: 'dinov3-7b' })).toMatchObject({ id: 'dinov3', mustAccept: true });
    const error = await failure(models.pull({ models: ['siglip2-g384', 'dinov3-7b'] }));
    expect(error).toMatchObject({
      code: 'LICENCE_NOT_ACCEPTED',
      fields: { licence: 'dinov3', url: catalogueEntry('dinov3-7b').licence.url },
    });
    expect(queue.list({ limit: 10, offset: 0 })).toEqual([]);
    expect(server.asked).toEqual([]);
  });

  test('and then the job says what the hub says', async () => {
    const job = await models.pull({ models: ['dinov3-7b'], acceptedLicences: ['dinov3'] });
    const failed = await ended(job.id);
    expect(failed).toMatchObject({
      state: 'failed',
      error: { code: expect.stringMatching(/^(TOKEN_REFUSED|HUB_NOT_FOUND)$/) as string },
    });
  });
});

test("a model that isn't in the catalogue", async () => {
  for (const work of [
    models.pull({ models: ['x'] }),
    models.verify({ models: ['x'] }),
    models.remove({ models: ['x'] }),
    models.licence({ model: 'x' }),
  ]) {
    expect((await failure(work)).code).toBe('BAD_ARGUMENT');
  }
});
