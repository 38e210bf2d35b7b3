import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRouterClient } from '@orpc/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openApp, type App } from '../../main/app.ts';
import type { Api } from '../../main/contract/api.ts';
import { I2lError } from '../../main/contract/errors.ts';
import type { JobResult } from '../../main/contract/engine.ts';
import type { SpectrumView } from '../../main/contract/lora-work.ts';
import type { LoraView } from '../../main/contract/loras.ts';
import { hasEnded, type JobDetails, type JobView } from '../../main/contract/queue.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { router } from '../../main/handlers/api.ts';
import { readLora } from '../../main/pipelines/inspect-lora.ts';
import { contentOf } from '../../main/weights/atomic-copy.ts';
import { denseOf, minus, norm, randomDense, writeLora, type TestModule } from '../lora/lora-files.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
const dataFolder = join(base, 'data');
let app: App;
let api: Api;
beforeAll(async () => {
  app = await openApp({ dataFolder, name: 'a test' });
  api = createRouterClient(router, { context: { ...app.services, mode: 'server' } });
  await api.app.settings.set({ device: 'cpu', threads: 1, memory: 2 ** 30 });
});
afterAll(() => app.close());

const MODULES = ['transformer_blocks.0.attn.to_q', 'transformer_blocks.0.attn.to_k', 'transformer_blocks.1.attn.to_q'];
let seed = 1;
function modulesOf(rank: number): TestModule[] {
  return MODULES.map((path) => ({ path, a: randomDense(rank, 12, seed++), b: randomDense(10, rank, seed++) }));
}

async function lora(name: string, rank = 4): Promise<LoraView> {
  const file = writeLora(join(base, `${name}.safetensors`), modulesOf(rank));
  return app.services.library.loraFiles.bringIn(await readLora(file), 'copied');
}

async function ended({ id }: Pick<JobView, 'id'>): Promise<JobDetails> {
  await expect.poll(() => hasEnded(app.services.queue.get(id).state), { timeout: 30_000, interval: 10 }).toBe(true);
  return app.services.queue.get(id);
}

async function done(job: Pick<JobView, 'id'>): Promise<JobDetails> {
  const details = await ended(job);
  expect(details.error).toBeNull();
  expect(details.state).toBe('done');
  return details;
}

const code = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => 'no error',
    (error: unknown) => errorFromWire(error).code,
  );

async function spectrum(id: number): Promise<SpectrumView> {
  const first = await api.loras.spectrum({ id });
  if (first.state === 'ready') return first;
  await done({ id: first.job });
  const second = await api.loras.spectrum({ id });
  if (second.state !== 'ready') throw new Error('the spectrum was not kept');
  return second;
}

const sharesOf = ({ shares }: SpectrumView): number[] => {
  const bytes = Buffer.from(shares, 'base64');
  return Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i) / 65_535);
};

describe('the spectrum', () => {
  test('is computed once, whoever asks meanwhile, and then at hand', async () => {
    const { id } = await lora('asked twice');
    const answers = await Promise.all([api.loras.spectrum({ id }), api.loras.spectrum({ id })]);
    const jobs = answers.map((answer) => (answer.state === 'computing' ? answer.job : 0));
    expect(jobs[0]).toBeGreaterThan(0);
    expect(jobs[1]).toBe(jobs[0]);
    await done({ id: jobs[0] ?? 0 });
    expect(await api.loras.spectrum({ id })).toMatchObject({ state: 'ready', rank: 4 });
  });

  test('says of every rank what a LoRA of that rank really keeps', async () => {
    const made = await lora('true', 6);
    const view = await spectrum(made.id);
    expect(view.rows.map(({ rank }) => rank)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(view.rows.at(-1)).toMatchObject({ kept: 1, bytes: 6 * 3 * 22 * 2 });
    const job = await done(await api.loras.resetRank({ id: made.id, choice: { kind: 'fixed', rank: 2 }, dtype: 'f32' }));
    const result = job.result as JobResult;
    expect(result.kept).toBeCloseTo(view.rows[1]?.kept ?? 0, 6);
    expect(result.worstKept).toBeCloseTo(view.rows[1]?.worst.kept ?? 0, 6);
    const [before, after] = [denseOf(made.file), denseOf(result.output ?? '')];
    view.modules.forEach(({ path }, i) => {
      const [whole, cut] = [before.get(path)!, after.get(path)!];
      const kept = Math.sqrt(1 - (norm(minus(whole, cut)) / norm(whole)) ** 2);
      expect(sharesOf(view)[view.modules.length + i]).toBeCloseTo(kept, 4);
    });
    expect(sharesOf(view).slice(-3)).toEqual([1, 1, 1]);
    expect(view.modules.reduce((sum, { energy }) => sum + energy, 0)).toBeCloseTo(1, 12);
    expect(view.components[0]).toBe(1);
    expect(view.components).toEqual(view.components.toSorted((a, b) => b - a));
  });

  test('places the modules in the model, and finds a rank for every preset', async () => {
    const { id } = await lora('placed', 5);
    const { modules, columns, lines, presets, rows } = await spectrum(id);
    expect(columns).toEqual(['transformer_blocks.0', 'transformer_blocks.1']);
    expect(lines).toEqual(['attn.to_q', 'attn.to_k']);
    expect(modules.map(({ column, line }) => [column, line])).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
    ]);
    for (const preset of presets) {
      const row = rows.find(({ rank }) => rank === preset.rank);
      if (preset.kind === 'bytes') expect(row?.bytes).toBeLessThanOrEqual(preset.bytes);
      else {
        expect(row?.kept).toBeGreaterThanOrEqual(preset.share - 1e-12);
        const below = rows.find(({ rank }) => rank === preset.rank - 1);
        expect(below?.kept ?? 0).toBeLessThan(preset.share);
      }
    }
  });

  test('of a file that is gone, or of nothing', async () => {
    const { id, file } = await lora('gone');
    rmSync(file);
    expect(await code(api.loras.spectrum({ id }))).toBe('FILE_NOT_FOUND');
    expect(await code(api.loras.spectrum({ id: 9999 }))).toBe('NOT_IN_LIBRARY');
  });
});

describe('new versions', () => {
  test('are rows of the same recipe, under names that nothing has', async () => {
    const { id, name, recipe } = await lora('parent');
    mkdirSync(join(dataFolder, 'loras'), { recursive: true });
    writeFileSync(join(dataFolder, 'loras', 'parent-r2.safetensors'), 'in the way');
    await api.jobs.pauseQueue({});
    const choice = { kind: 'fixed', rank: 2 } as const;
    const jobs = await Promise.all([api.loras.resetRank({ id, choice }), api.loras.resetRank({ id, choice })]);
    await api.jobs.resumeQueue();
    const files = await Promise.all(jobs.map(async (job) => basename(((await done(job)).result as JobResult).output ?? '')));
    expect(files).toEqual(['parent-r2-v2.safetensors', 'parent-r2-v3.safetensors']);
    const { loras } = await api.loras.versions({ id });
    expect(loras.map((one) => [one.name, one.parentId, one.recipe])).toEqual([
      [name, null, recipe],
      ['parent-r2', id, recipe],
      ['parent-r2', id, recipe],
    ]);
    expect(readFileSync(join(dataFolder, 'loras', 'parent-r2.safetensors'), 'utf8')).toBe('in the way');
  });

  test('write over no LoRA that came to their name while they waited', async () => {
    const { library } = app.services;
    const { id } = await lora('promising');
    const renamed = await lora('to be renamed');
    const trashed = await lora('promised');
    await library.loraFiles.remove([trashed.id], 'own');
    await api.jobs.pauseQueue({});
    const job = await api.loras.resetRank({ id, choice: { kind: 'fixed', rank: 2 }, name: 'promised' });
    const uploaded = await lora('promised');
    await library.loraFiles.rename(renamed.id, 'promised', 'own');
    await library.loraFiles.undo([trashed.id]);
    await api.jobs.resumeQueue();
    const { output } = (await done(job)).result as JobResult;
    expect(basename(output ?? '')).toBe('promised.safetensors');
    const views = [uploaded, renamed, trashed].map((one) => library.loras.view(one.id));
    expect(views.map(({ file }) => basename(file))).toEqual(['promised-v2.safetensors', 'promised-v3.safetensors', 'promised-v4.safetensors']); // prettier-ignore
    for (const { file, sha256 } of views) expect((await contentOf(file)).sha256).toBe(sha256);
  });

  test("by energy, under the user's name, whatever it is made of", async () => {
    const { id } = await lora('energetic');
    const choice = { kind: 'energy', share: 0.9, perModule: true } as const;
    await done(await api.loras.resetRank({ id, choice, name: 'a/b: "c"?' }));
    const { loras } = await api.loras.list({ sort: 'added' });
    expect(loras[0]?.name).toBe('a/b: "c"?');
    expect(basename(loras[0]?.file ?? '')).toBe('a-b- -c--.safetensors');
  });
});

describe('a merge', () => {
  test('is the weighted sum, at a rank if one is asked, and leaves nothing beside it', async () => {
    const [a, b] = [await lora('first', 2), await lora('second', 3)];
    const inputs = [
      { id: a.id, strength: 0.5 },
      { id: b.id, strength: -2 },
    ];
    const whole = (await done(await api.loras.merge({ inputs, name: 'sum', dtype: 'f32' }))).result as JobResult;
    const same = (await done(await api.loras.merge({ inputs, name: 'sum', rank: 5, dtype: 'f32' }))).result as JobResult;
    const less = (await done(await api.loras.merge({ inputs, name: 'sum', rank: 1 }))).result as JobResult;
    expect([whole, same, less].map(({ rank }) => rank)).toEqual([5, 5, 1]);
    const [sums, again] = [denseOf(whole.output ?? ''), denseOf(same.output ?? '')];
    for (const path of MODULES) {
      const [one, other] = [denseOf(a.file).get(path)!, denseOf(b.file).get(path)!];
      const expected = { ...one, values: one.values.map((value, i) => 0.5 * value - 2 * other.values[i]!) };
      expect(norm(minus(sums.get(path)!, expected))).toBeLessThan(1e-5);
      expect(norm(minus(again.get(path)!, expected))).toBeLessThan(1e-4);
    }
    expect(readdirSync(join(dataFolder, 'loras')).filter((name) => name.includes('-merge'))).toEqual([]);
    expect((await api.loras.list({ text: 'sum' })).total).toBe(3);
  });

  test('of what is not there is refused', async () => {
    expect(await code(api.loras.merge({ inputs: [{ id: 4711, strength: 1 }], name: 'x' }))).toBe('NOT_IN_LIBRARY');
  });
});

test('a comparison says how far two are from each other, module by module', async () => {
  const [a, b] = [await lora('left'), await lora('right')];
  const { comparison } = (await done(await api.loras.compare({ a: a.id, b: b.id }))).result as JobResult;
  expect(comparison?.map(({ module }) => module)).toEqual(MODULES);
  const own = (await done(await api.loras.compare({ a: a.id, b: a.id }))).result as JobResult;
  expect(own.comparison?.map(({ relativeError, cosine }) => [relativeError, cosine])).toEqual(MODULES.map(() => [0, 1]));
});

describe('exports', () => {
  const comfyui = join(base, 'ComfyUI');
  const lorasOf = (sub: string): string[] => readdirSync(join(comfyui, 'models', 'loras', sub)).sort();
  beforeAll(() => {
    mkdirSync(join(comfyui, 'models', 'loras'), { recursive: true });
    mkdirSync(join(comfyui, 'comfy'));
    for (const name of ['main.py', 'folder_paths.py', 'nodes.py']) writeFileSync(join(comfyui, name), '');
  });

  test('to ComfyUI: several in one job, noted with where they are, and whether they still are', async () => {
    const [a, b] = [await lora('one to go'), await lora('two to go')];
    await done(await api.loras.exportToComfyui({ ids: [a.id, b.id], folder: comfyui, subfolder: 'mine', sidecar: true }));
    expect(lorasOf('mine')).toEqual(['one to go.metadata.json', 'one to go.safetensors', 'two to go.metadata.json', 'two to go.safetensors']); // prettier-ignore
    const { exports } = await api.loras.exports({ id: a.id });
    expect(exports).toMatchObject([{ kind: 'comfyui', state: 'present', sha256: a.sha256 }]);
    rmSync(exports[0]?.path ?? '');
    expect((await api.loras.exports({ id: a.id })).exports).toMatchObject([{ state: 'missing' }]);
  });

  test('the window names an install that the app finds, and no other folder', async () => {
    const { id } = await lora('from the window');
    const allowPath = (): never => {
      throw new I2lError('BAD_ARGUMENT', 'not chosen');
    };
    const desktop: Api = createRouterClient(router, { context: { ...app.services, mode: 'desktop', allowPath } });
    const asked = { ids: [id], folder: comfyui, subfolder: 'window' };
    expect(await desktop.loras.exportToComfyui(asked).catch(errorFromWire)).toMatchObject({ message: 'not chosen' });
    await api.app.settings.set({ comfyuiFolders: [comfyui] });
    await done(await desktop.loras.exportToComfyui(asked));
    expect(lorasOf('window')).toEqual(['from the window.safetensors']);
    await api.app.settings.set({ comfyuiFolders: [] });
  });

  test('at a rank, two at once', async () => {
    const [a, b] = [await lora('cut a'), await lora('cut b')];
    const jobs = await Promise.all(
      [a, b].map(({ id }) => api.loras.exportToComfyui({ ids: [id], folder: comfyui, subfolder: 'cut', rank: 1 })),
    );
    await Promise.all(jobs.map(done));
    expect(lorasOf('cut')).toEqual(['cut a-r1.safetensors', 'cut b-r1.safetensors']);
    expect(readdirSync(join(dataFolder, 'cache')).filter((name) => name.startsWith('export'))).toEqual([]);
  });

  test('of which one fails: the others are there, and run again it is only that one', async () => {
    const [a, b] = [await lora('stays'), await lora('goes')];
    const bytes = readFileSync(b.file);
    rmSync(b.file);
    const job = await api.loras.exportToComfyui({ ids: [b.id, a.id], folder: comfyui, subfolder: 'some' });
    const failed = await ended(job);
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'FILE_NOT_FOUND', fields: { failed: 1, all: 2 } } });
    expect(lorasOf('some')).toEqual(['stays.safetensors']);
    writeFileSync(b.file, bytes);
    await api.jobs.retry({ id: job.id });
    expect((await done(job)).steps).toEqual([`lora ${a.id}`, `lora ${b.id}`]);
    expect(lorasOf('some')).toEqual(['goes.safetensors', 'stays.safetensors']);
  });

  test('of one that fails, the log says so once; of several, by each and for all', async () => {
    const [a, b] = [await lora('gone'), await lora('gone too')];
    for (const { file } of [a, b]) rmSync(file);
    for (const [ids, lines] of [
      [[a.id], 1],
      [[a.id, b.id], 3],
    ] as const) {
      // prettier-ignore
      const { id } = await ended(await api.loras.exportToComfyui({ ids: [...ids], folder: comfyui }));
      expect((await api.jobs.log({ id })).map(({ note }) => note?.code)).toEqual(Array(lines).fill('FAILED'));
    }
  });

  test('for a trainer, with the images of its set and their captions', async () => {
    const { library } = app.services;
    const set = library.sets.create({ name: 'sea' });
    const image = fileURLToPath(new URL('../../resources/examples/sea.jpg', import.meta.url));
    const added = await library.setImport.addImages(set.id, [image]);
    const hash = added.added[0] ?? '';
    const file = writeLora(join(dataFolder, 'loras', 'to train.safetensors'), modulesOf(4));
    const madeFrom = { images: [{ hash, weight: 1, caption: 'the sea at dusk' }, { hash: '0'.repeat(64), weight: 1, caption: '' }] }; // prettier-ignore
    const { id } = library.loras.add(await readLora(file), { madeFrom });
    const folder = join(base, 'training');
    const job = await done(await api.loras.exportForTrainer({ id, trainer: 'musubi', folder, steps: 100 }));
    expect(readFileSync(join(folder, 'images', 'sea.txt'), 'utf8')).toBe('the sea at dusk\n');
    expect(job.result).toMatchObject({ trainer: 'musubi', rank: 4, images: 1 });
    expect((await api.jobs.log({ id: job.id })).some(({ text }) => text.includes('0'.repeat(64)))).toBe(true);
    expect((await api.loras.exports({ id })).exports).toMatchObject([{ kind: 'musubi', state: 'present' }]);
    expect(await ended(await api.loras.exportForTrainer({ id, trainer: 'musubi', folder }))).toMatchObject({ state: 'failed', error: { code: 'BAD_ARGUMENT' } }); // prettier-ignore
  });

  test('paths of the app mean nothing to who sends them', async () => {
    const { id } = await lora('relative');
    expect(await code(api.loras.exportToComfyui({ ids: [id], folder: 'ComfyUI' }))).toBe('BAD_ARGUMENT');
    expect(await code(api.loras.exportForTrainer({ id, trainer: 'musubi', folder: 'x' }))).toBe('BAD_ARGUMENT');
    expect(existsSync('ComfyUI')).toBe(false);
  });
});
