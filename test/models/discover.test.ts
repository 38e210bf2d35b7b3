import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { FoundModel } from '../../main/contract/models.ts';
import { identify } from '../../main/pipelines/identify.ts';
import { CATALOGUE, catalogueEntry } from '../../main/weights/catalogue.ts';
import { bestOf, scan, type Scan, type ScanOptions } from '../../main/weights/discover.ts';
import { HeaderCache } from '../../main/weights/header-cache.ts';
import { modelPlaces, type KnownFolders } from '../../main/weights/model-places.ts';
import { makeTinyModels } from '../cli/tiny-models.ts';
import { makeLora } from '../comfyui/fake-home.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { layoutOfModel, sparse, sparseModel, type SparseDtype } from './sparse-models.ts';

/** Homes with caches and folders as other programs lay them out, with the published models as sparse files. */
const root = tempFolder();
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(root, 'home-'));
});

function model(path: string, id: string, dtype?: SparseDtype): string {
  return sparseModel(join(home, path), id, dtype);
}

/** Four shards, as the published text encoder has them. */
function qwenShards(folder: string, withIndex: boolean): string {
  const layout = layoutOfModel('qwen2.5-vl-7b');
  const name = (at: number): string => `model-0000${at + 1}-of-00004.safetensors`;
  const map: Record<string, string> = {};
  for (let at = 0; at < 4; at++) {
    const own = layout.filter((_, tensor) => tensor % 4 === at);
    for (const tensor of own) map[tensor.name] = name(at);
    sparse(join(home, folder, name(at)), own);
  }
  if (withIndex) writeFileSync(join(home, folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  return join(home, folder);
}

/** As huggingface_hub keeps a file: its bytes under their hash, a link by its name for each revision. */
function huggingFace(
  cache: string,
  repo: string,
  path: string,
  id: string,
  revision = 'a'.repeat(40),
  hash = 'f'.repeat(64),
): string {
  const own = join(home, cache, `models--${repo.replace('/', '--')}`);
  const blob = join(own, 'blobs', hash);
  sparse(blob, layoutOfModel(id));
  const link = join(own, 'snapshots', revision, path);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(relative(dirname(link), blob), link);
  return link;
}

type Extra = Partial<Omit<ScanOptions, 'places'>> & { env?: Record<string, string>; known?: Partial<KnownFolders> };

function look({ env = {}, known = {}, ...options }: Extra = {}): Promise<Scan> {
  const places = modelPlaces({ home, env, platform: process.platform }, { app: join(home, 'app'), ...known });
  return scan({ identify, places, ...options });
}

const brief = ({ id, source, path }: FoundModel): unknown[] => [id, source, relative(home, path)];

describe('every layout', () => {
  test('of the Hugging Face cache: links to blobs, each blob once, whatever the revision', async () => {
    const style = catalogueEntry('qwen-image-i2l-style');
    const first = huggingFace('.cache/huggingface/hub', style.hubs.huggingface, style.file, style.id);
    const second = join(dirname(dirname(first)), 'b'.repeat(40), basename(first));
    mkdirSync(dirname(second));
    symlinkSync(join('..', '..', 'blobs', 'f'.repeat(64)), second);
    const { models, troubles } = await look();
    expect(models.map(brief)).toEqual([[style.id, 'huggingface', relative(home, first)]]);
    expect(models[0]).toMatchObject({
      network: 'i2l',
      variant: 'published',
      isUsable: true,
      synthetic: false,
      bytes: statSync(first).size,
    });
    expect(troubles).toEqual([]);
  });

  test.each([
    ['HF_HOME', { HF_HOME: '~/elsewhere' }, 'elsewhere/hub'],
    ['HF_HUB_CACHE', { HF_HUB_CACHE: '$BASE/cache', BASE: '' }, 'cache'],
    ['HUGGINGFACE_HUB_CACHE', { HUGGINGFACE_HUB_CACHE: '${BASE}/old' }, 'old'],
    ['XDG_CACHE_HOME', { XDG_CACHE_HOME: '~/xdg' }, 'xdg/huggingface/hub'],
  ])('of the Hugging Face cache where %s puts it', async (_name, env, cache) => {
    const path = huggingFace(cache, 'DiffSynth-Studio/Z-Image-i2L', 'model.safetensors', 'z-image-i2l-style');
    const { models } = await look({ env: { ...env, BASE: home } });
    expect(models.map(brief)).toEqual([['z-image-i2l-style', 'huggingface', relative(home, path)]]);
  });

  test('of the Hugging Face cache on a disk without links', async () => {
    model('.cache/huggingface/hub/models--DiffSynth-Studio--Z-Image-i2L/snapshots/abc/model.safetensors', 'z-image-i2l-style');
    expect((await look()).models.map(({ id }) => id)).toEqual(['z-image-i2l-style']);
  });

  test.each([
    ['hub/DiffSynth-Studio/Qwen-Image-i2L'],
    ['hub/models/DiffSynth-Studio/Qwen-Image-i2L'],
    ['models/DiffSynth-Studio/Qwen-Image-i2L'],
    ['models/DiffSynth-Studio--Qwen-Image-i2L/snapshots/master'],
    ['hub/DiffSynth-Studio/Qwen2___5'],
  ])('of ModelScope: %s', async (folder) => {
    const inner = `${folder}/Qwen-Image-i2L-Coarse.safetensors`;
    model(`.cache/modelscope/${inner}`, 'qwen-image-i2l-coarse');
    model(`ms/${inner}`, 'qwen-image-i2l-fine');
    model(`.cache/modelscope/hub/._____temp/${inner}`, 'qwen-image-i2l-style');
    const { models } = await look({ env: { MODELSCOPE_CACHE: join(home, 'ms') } });
    expect(models.map(brief)).toEqual([
      ['qwen-image-i2l-fine', 'modelscope', join('ms', inner)],
      ['qwen-image-i2l-coarse', 'modelscope', join('.cache/modelscope', inner)],
    ]);
  });

  test('of DiffSynth: below its clone, the current folder, and where its variable says', async () => {
    const inner = 'DiffSynth-Studio/General-Image-Encoders/SigLIP2-G384/model.safetensors';
    model(`code/DiffSynth-Studio/models/${inner}`, 'siglip2-g384');
    model(`here/models/${inner}`, 'siglip2-g384');
    model(`base/${inner}`, 'siglip2-g384');
    const { models } = await look({
      env: { DIFFSYNTH_MODEL_BASE_PATH: join(home, 'base') },
      known: { current: join(home, 'here') },
    });
    expect(models.map(({ path }) => relative(home, path))).toEqual([
      `base/${inner}`,
      `here/models/${inner}`,
      `code/DiffSynth-Studio/models/${inner}`,
    ]);
    expect(new Set(models.map(({ source }) => source))).toEqual(new Set(['diffsynth']));
  });

  test('of ComfyUI, among a lot that is nothing to us', async () => {
    model('comfy/models/clip_vision/siglip2.safetensors', 'siglip2-g384');
    makeLora(join(home, 'comfy/models/loras/style.safetensors'));
    makeLora(join(home, 'comfy/models/loras/Qwen-Image-i2L-Bias.safetensors'));
    sparse(join(home, 'comfy/models/vae/vae.safetensors'), [{ name: 'decoder.conv', shape: [3, 3] }]);
    const { models, others } = await look({ known: { comfyui: [join(home, 'comfy/models')] } });
    expect(models.map(({ id, source }) => [id, source])).toEqual([
      ['siglip2-g384', 'comfyui'],
      ['qwen-image-i2l-bias', 'comfyui'],
    ]);
    expect(others).toBe(2);
  });

  test('of shards with an index and without', async () => {
    qwenShards('app/Qwen/Qwen-Image/text_encoder', true);
    qwenShards('named/text_encoder', false);
    const { models, troubles, others } = await look({ known: { named: [join(home, 'named')] } });
    expect(models.map(({ id, path, files }) => [id, relative(home, path), files.length])).toEqual([
      ['qwen2.5-vl-7b', 'named/text_encoder/model-00001-of-00004.safetensors', 4],
      ['qwen2.5-vl-7b', 'app/Qwen/Qwen-Image/text_encoder/model.safetensors.index.json', 5],
    ]);
    expect([troubles, others]).toEqual([[], 0]);
  });

  test.each([true, false])('of shards of which one is missing: told by name (index: %s)', async (withIndex) => {
    const folder = qwenShards('app/q', withIndex);
    rmSync(join(folder, 'model-00003-of-00004.safetensors'));
    const { models, troubles } = await look();
    expect(models).toEqual([]);
    expect(troubles.map(({ message }) => message).join()).toContain('model-00003-of-00004.safetensors');
  });

  test("of the app itself, and the user's folders before all others; nothing twice", async () => {
    const mine = model('mine/any name.safetensors', 'dinov3-7b');
    mkdirSync(join(home, 'app/deep'), { recursive: true });
    linkSync(mine, join(home, 'app/deep/model.safetensors'));
    const { models } = await look({ known: { named: [join(home, 'mine'), join(home, 'mine')] } });
    expect(models.map(brief)).toEqual([['dinov3-7b', 'named', 'mine/any name.safetensors']]);
  });
});

describe('what a file is', () => {
  test('every published layout is known by its header, in milliseconds', async () => {
    const ids = CATALOGUE.filter(({ fingerprint, parts }) => fingerprint !== null && parts.length === 0).map(({ id }) => id);
    for (const id of ids) model(`app/${id}.safetensors`, id);
    await look();
    const start = performance.now();
    const { models } = await look();
    const each = (performance.now() - start) / ids.length;
    expect(models.map(({ id }) => id).sort()).toEqual(ids.toSorted());
    expect(models.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(50e9);
    expect(each, 'milliseconds a file').toBeLessThan(500); // about 20 on a machine with nothing else to do
  });

  test.each([
    ['F32', 'other-dtype', true],
    ['F8_E4M3', 'other-dtype', true],
    ['F8_E5M2', 'other-dtype', false],
    ['BF16', 'published', true],
  ] as const)('in %s: %s', async (dtype, variant, isUsable) => {
    model('app/x.safetensors', 'siglip2-g384', dtype);
    const [found] = (await look()).models;
    expect(found).toMatchObject({ id: 'siglip2-g384', variant, isUsable, dtypes: [dtype] });
    if (variant === 'other-dtype') expect(found?.title).toContain(`in ${dtype}`);
  });

  test('of other sizes is named as such, and never taken for a published one', async () => {
    makeTinyModels(join(home, 'app'));
    const { models } = await look();
    expect(models.map(({ network, variant, id }) => [network, variant, id]).sort()).toEqual([
      ['dinov3', 'other-sizes', undefined],
      ['i2l', 'other-sizes', undefined],
      ['siglip2', 'other-sizes', undefined],
    ]);
    for (const found of models)
      expect(found).toMatchObject({ synthetic: true, title: expect.stringContaining('other sizes') as string });
    expect(bestOf(models, 'siglip2-g384')).toBeUndefined();
  });

  test("the best of several: the user's, then the app's, and eight bits only if there is nothing else", async () => {
    model('.cache/huggingface/hub/models--a--b/snapshots/c/x.safetensors', 'siglip2-g384');
    model('app/eight.safetensors', 'siglip2-g384', 'F8_E4M3');
    model('app/useless.safetensors', 'siglip2-g384', 'F8_E5M2');
    const all = (await look()).models;
    expect(all).toHaveLength(3);
    expect(bestOf(all, 'siglip2-g384')?.source).toBe('huggingface');
    expect(
      bestOf(
        all.filter(({ source }) => source === 'app'),
        'siglip2-g384',
      )?.path,
    ).toContain('eight');
    expect(bestOf(all, 'dinov3-7b')).toBeUndefined();
  });

  test('random weights are only taken from a folder that the user named', async () => {
    sparse(join(home, 'app/x.safetensors'), layoutOfModel('siglip2-g384'), 'BF16', { synthetic: 'random weights' });
    const ours = await look();
    expect(ours.models[0]).toMatchObject({ synthetic: true, id: 'siglip2-g384' });
    expect(bestOf(ours.models, 'siglip2-g384')).toBeUndefined();
    const named = await look({ known: { named: [join(home, 'app')] } });
    expect(bestOf(named.models, 'siglip2-g384')).toBeDefined();
  });
});

describe('what goes wrong', () => {
  test('loops of links, links to nothing, pipes and folders named as weights', async () => {
    const path = model('app/a/b/x.safetensors', 'siglip2-g384');
    symlinkSync('../..', join(home, 'app/a/b/up'));
    symlinkSync('self', join(home, 'app/a/self'));
    symlinkSync(join(home, 'gone'), join(home, 'app/gone.safetensors'));
    mkdirSync(join(home, 'app/folder.safetensors'));
    renameSync(path, join(home, 'app/folder.safetensors/x.safetensors'));
    const { models, troubles } = await look();
    expect(models.map(brief)).toEqual([['siglip2-g384', 'app', 'app/folder.safetensors/x.safetensors']]);
    expect(troubles.map(({ code, fields }) => [code, fields['file']])).toContainEqual([
      'FILE_NOT_FOUND',
      join(home, 'app/gone.safetensors'),
    ]);
  });

  test('files that are none: each told, and the rest found', async () => {
    model('app/good.safetensors', 'siglip2-g384');
    writeFileSync(join(home, 'app/page.safetensors'), '<html>');
    writeFileSync(join(home, 'app/empty.safetensors'), '');
    writeFileSync(join(home, 'app/m.safetensors.index.json'), '{');
    const { models, troubles } = await look();
    expect(models).toHaveLength(1);
    expect(troubles.map(({ fields }) => basename(String(fields['file']))).sort()).toEqual([
      'empty.safetensors',
      'm.safetensors.index.json',
      'page.safetensors',
    ]);
  });

  test.skipIf(process.getuid?.() === 0)("folders that can't be read", async () => {
    mkdirSync(join(home, 'app/locked'), { recursive: true });
    chmodSync(join(home, 'app/locked'), 0);
    model('app/good.safetensors', 'siglip2-g384');
    const { models, troubles } = await look();
    expect(models).toHaveLength(1);
    expect(troubles.map(({ code }) => code)).toEqual(['FILE_UNREADABLE']);
    chmodSync(join(home, 'app/locked'), 0o755);
  });

  test("a named folder that isn't there is told; others are not", async () => {
    const { models, troubles } = await look({ known: { named: [join(home, 'nowhere')] } });
    expect(models).toEqual([]);
    expect(troubles.map(({ code, fields }) => [code, fields['file']])).toEqual([['FILE_NOT_FOUND', join(home, 'nowhere')]]);
  });

  test.each([
    ['entries', { depth: 12, entries: 20, milliseconds: 10_000 }],
    ['time', { depth: 12, entries: 10_000, milliseconds: -1 }],
  ])('a tree without end: it stops at its limit of %s and says so', async (_what, limits) => {
    for (let at = 0; at < 60; at++) mkdirSync(join(home, 'app', `${at}`), { recursive: true });
    const { troubles } = await look({ limits });
    expect(troubles).toHaveLength(limits.milliseconds < 0 ? troubles.length : 1);
    expect(troubles[0]).toMatchObject({ code: 'FILE_UNREADABLE', message: expect.stringContaining('too large') as string });
  });

  test('deeper than anybody nests: not looked at', async () => {
    model('app/1/2/3/4/x.safetensors', 'siglip2-g384');
    expect((await look({ limits: { depth: 3, entries: 1000, milliseconds: 10_000 } })).models).toEqual([]);
    expect((await look({ limits: { depth: 4, entries: 1000, milliseconds: 10_000 } })).models).toHaveLength(1);
  });

  test('a signal stops it', async () => {
    model('app/x.safetensors', 'siglip2-g384');
    expect((await rejectionOf(look({ signal: AbortSignal.abort() }))).code).toBe('CANCELLED');
  });
});

describe('headers are read once', () => {
  test('and again when the file changes, or its config, or the program', async () => {
    const path = model('app/x.safetensors', 'siglip2-g384');
    makeTinyModels(join(home, 'app'));
    const file = join(home, 'cache/headers.json');
    let reads = 0;
    const counted = (name: string): ReturnType<typeof identify> => (reads++, identify(name));
    const readsOf = async (version = '1'): Promise<number> => {
      reads = 0;
      const cache = await HeaderCache.open(file, version);
      const { models } = await look({ cache, identify: counted });
      expect(models).toHaveLength(4);
      await cache.save();
      return reads;
    };
    expect(await readsOf()).toBe(4);
    expect(await readsOf()).toBe(0);
    utimesSync(path, 1000, 1000);
    expect(await readsOf()).toBe(1);
    writeFileSync(join(home, 'app/siglip2-g384/config.json'), '{"model_type":"siglip_vision_model","num_attention_heads":4}');
    expect(await readsOf()).toBe(1);
    expect(await readsOf('2')).toBe(4);
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, 100));
    expect(await readsOf('2')).toBe(4);
  });

  test('from the cache they are the same', async () => {
    makeTinyModels(join(home, 'app'));
    writeFileSync(join(home, 'app/bad.safetensors'), 'x');
    const file = join(home, 'cache/headers.json');
    const first = await HeaderCache.open(file, '1');
    const before = await look({ cache: first });
    await first.save();
    const after = await look({ cache: await HeaderCache.open(file, '1') });
    expect(after.models).toEqual(before.models);
    expect(after.troubles.map(({ message }) => message)).toEqual(before.troubles.map(({ message }) => message));
  });
});

test('what is found while it looks is told at once', async () => {
  model('app/x.safetensors', 'siglip2-g384');
  const told: FoundModel[] = [];
  const { models } = await look({ onFound: (found) => told.push(found) });
  expect(told).toEqual(models);
});
