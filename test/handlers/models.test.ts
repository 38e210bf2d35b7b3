import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRouterClient, type RouterClient } from '@orpc/server';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { pulledFilesSchema, verifiedFilesSchema } from '../../main/contract/models-api.ts';
import type { I2lError } from '../../main/contract/errors.ts';
import type { HubName } from '../../main/contract/models.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { modelsRouter } from '../../main/handlers/models.ts';
import { openPath } from '../../main/handlers/sets.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import { ModelStore } from '../../main/pipelines/model-store.ts';
import { modelRunners } from '../../main/runners/model-jobs.ts';
import { CATALOGUE, catalogueEntry } from '../../main/weights/catalogue.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { MemoryStore } from '../jobs/memory-store.ts';
import { i2l, type I2lConfig } from '../../main/networks/i2l.ts';
import { layoutOf } from '../../main/networks/network.ts';
import { randomBytes } from '../models/downloads.ts';
import { HubServer } from '../models/hub-server.ts';
import { sparse, sparseModel } from '../models/sparse-models.ts';
import { tempFolder } from '../unit/temp.ts';

/** What the Models screen asks, and the jobs behind it, with hubs of our own. */
const root = tempFolder();
const bias = catalogueEntry('qwen-image-i2l-bias');
const lora = readFileSync(makeLargeLora(join(root, 'lora.safetensors')));
const OTHER_SIZES: I2lConfig = { target: 'z-image', hidden: 96, blocks: 2, width: 64, compress: 2, rank: 4 };
let server: HubServer;
let home: string;
let queue: JobQueue;
let models: RouterClient<typeof modelsRouter>;

beforeEach(async () => {
  server = await HubServer.start();
  server.add(bias.hubs.huggingface, bias.file, lora);
  home = mkdtempSync(join(root, 'home-'));
  const store = storeWith({ HF_ENDPOINT: server.hubUrl, MODELSCOPE_ENDPOINT: server.hubUrl });
  queue = new JobQueue({ store: new MemoryStore(), runners: modelRunners(async () => store) });
  queue.start();
  const dataFolder = join(home, 'data');
  models = createRouterClient(modelsRouter, { context: { queue, models: async () => store, dataFolder, allowPath: openPath } });
});
afterEach(async () => {
  await queue.close();
  await server.stop();
});

const keptToken = async (hub: HubName): Promise<string | undefined> => (hub === 'huggingface' ? 'hf_kept' : undefined);

function storeWith(env: NodeJS.ProcessEnv, token = keptToken): ModelStore {
  return new ModelStore({
    dataFolder: join(home, 'data'),
    folders: () => ({ modelsFolder: join(home, 'models'), surroundings: { home, env: {}, platform: process.platform } }),
    env,
    token,
  });
}

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

describe('the overview', () => {
  const write = (id: string, path: string, dtype?: 'BF16' | 'F8_E4M3' | 'F32'): string => sparseModel(join(home, path), id, dtype);

  test('of an empty machine says what is to come, and that it is a first start', async () => {
    const overview = await models.overview();
    expect(overview).toMatchObject({ isFirstStart: true, unused: [], troubles: [], modelsFolder: join(home, 'models') });
    expect(overview.freeBytes).toBeGreaterThan(0);
    expect(overview.missingBytes).toBe(CATALOGUE.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0));
    expect(overview.experts.map(({ target, expert, state }) => `${target}/${expert} ${state}`)).toEqual([
      'qwen-image/style missing',
      'qwen-image/coarse missing',
      'qwen-image/fine missing',
      'qwen-image/bias missing',
      'z-image/style missing',
    ]);
    expect(server.asked, 'and no network was asked').toEqual([]);
  });

  test('a shared encoder counts once in all, and for each expert that needs it', async () => {
    write('qwen-image-i2l-style', '.cache/huggingface/hub/models--a--b/snapshots/c/Qwen-Image-i2L-Style.safetensors');
    write('siglip2-g384', '.cache/modelscope/hub/models/a/b/any name.safetensors');
    const overview = await models.overview();
    const style = overview.experts.find(({ target, expert }) => target === 'qwen-image' && expert === 'style');
    const dino = catalogueEntry('dinov3-7b').bytes ?? 0;
    expect(style).toMatchObject({ state: 'incomplete', missingBytes: dino });
    expect(overview.isFirstStart).toBe(false);
    const here = overview.models.filter(({ state }) => state === 'here');
    expect(here.map(({ id, found }) => [id, found?.source])).toContainEqual(['qwen-image-i2l-style', 'huggingface']);
    expect(overview.missingBytes).toBe(
      overview.models.filter(({ state }) => state === 'missing').reduce((sum, { bytes = 0 }) => sum + bytes, 0),
    );
  });

  test('says of what no job takes why', async () => {
    write('z-image-i2l-style', 'models/a/first.safetensors');
    write('z-image-i2l-style', 'models/b/second.safetensors');
    sparse(join(home, 'models', 'c', 'other sizes.safetensors'), layoutOf(i2l, OTHER_SIZES));
    const { unused } = await models.overview();
    expect(unused.map(({ path, why }) => [path.slice(home.length + 8), why])).toEqual([
      ['b/second.safetensors', 'spare'],
      ['c/other sizes.safetensors', 'sizes'],
    ]);
  });

  test("a model of other sizes in the app's own folder is the one that a job takes, and so is shown", async () => {
    const path = sparse(join(home, 'models', 'z-image-i2l-style', 'model.safetensors'), layoutOf(i2l, OTHER_SIZES));
    const view = (await models.overview()).models.find(({ id }) => id === 'z-image-i2l-style');
    expect(view).toMatchObject({ state: 'here', found: { path, variant: 'other-sizes' }, isDownloaded: false });
  });

  test('tells where a token comes from, and never the token', async () => {
    const overview = await models.overview();
    expect(overview.hubs).toEqual([
      { hub: 'huggingface', endpoint: server.hubUrl, token: 'kept' },
      { hub: 'modelscope', endpoint: server.hubUrl, token: 'none' },
    ]);
    expect(JSON.stringify(overview)).not.toContain('hf_kept');
  });
});

test('a mirror needs a hub, and an address that is one, before a job is made', async () => {
  for (const input of [{ endpoint: 'https://mirror.test' }, { source: 'huggingface' as const, endpoint: 'https://a b' }]) {
    expect((await failure(models.pull({ models: [bias.id], ...input }))).code).toBe('BAD_ARGUMENT');
  }
  expect(queue.list({ limit: 10, offset: 0 })).toEqual([]);
});

describe('a kept token', () => {
  const tokensSent = (): unknown[] => server.asked.map(({ headers }) => headers.authorization).filter(Boolean);

  test.each(['the environment', 'whoever asks'])('is not sent to a mirror that %s names', async (who) => {
    const mirror = who === 'whoever asks' ? { endpoint: server.hubUrl } : {};
    const { id } = await models.pull({ models: [bias.id], source: 'huggingface', ...mirror });
    expect((await ended(id)).state).toBe('done');
    expect(server.asked.length).toBeGreaterThan(1);
    expect(tokensSent()).toEqual([]);
  });

  test("of the environment is, as by the hubs' own tools", async () => {
    const store = storeWith({ HF_ENDPOINT: server.hubUrl, HF_TOKEN: 'hf_environment' });
    await store.pull({ models: [bias], source: 'huggingface', acceptedLicences: [] });
    expect(new Set(tokensSent())).toEqual(new Set(['Bearer hf_environment']));
  });

  test('is asked for where the hub itself is', async () => {
    const asked: HubName[] = [];
    const store = storeWith({}, async (hub) => {
      asked.push(hub);
      return undefined;
    });
    const pull = { models: [bias], source: 'huggingface' as const, acceptedLicences: [] };
    expect((await failure(store.pull(pull))).code, 'tests have no network').toBe('HUB_UNREACHABLE');
    expect(asked).toEqual(['huggingface']);
  });
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

test('8-bit copies are listed, damaged ones too, and deleted', async () => {
  const folder = join(home, 'data', 'cache', '8-bit');
  expect(await models.copies()).toEqual([]);
  mkdirSync(folder, { recursive: true });
  const [good, damaged] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')];
  writeSafetensors(good, [{ name: 'x', dtype: 'U8', shape: [4], bytes: new Uint8Array(4) }], { 'i2l.copy-of': 'dinov3-7b' });
  writeFileSync(damaged, 'not a model');
  // Of a job whose process died while it made one.
  writeFileSync(join(folder, 'c.safetensors.4194305-0.i2l-part'), 'half');
  const bytes = statSync(good).size;
  expect(await models.copies()).toEqual([
    { file: good, of: 'dinov3-7b', bytes },
    { file: damaged, of: null, bytes: 11 },
  ]);
  expect(await models.removeCopies({})).toEqual({ bytes: bytes + 11 });
  expect(readdirSync(folder)).toEqual([]);
});

test('8-bit copies stay while a job uses them', async () => {
  const running = { id: 1, state: 'running', lane: 'engine' };
  const busy = { list: () => [running], get: () => ({ ...running, input: { eightBit: { folder: 'x' } } }) };
  const context = {
    queue: busy as unknown as JobQueue,
    models: () => Promise.reject(new Error('unused')),
    dataFolder: home,
    allowPath: openPath,
  };
  const { copies, removeCopies } = createRouterClient(modelsRouter, { context });
  expect(await copies()).toEqual([]);
  expect(await failure(removeCopies({}))).toMatchObject({ code: 'JOB_STATE', fields: { reason: 'copies-in-use' } });
});
