import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRouterClient } from '@orpc/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openApp, type App } from '../../main/app.ts';
import type { Api } from '../../main/contract/api.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { router } from '../../main/handlers/api.ts';
import { ChosenPaths } from '../../main/handlers/paths.ts';
import { readLora } from '../../main/pipelines/inspect-lora.ts';
import { makeLora } from '../library/make-loras.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let app: App;
let api: Api;
const dataFolder = join(base, 'data of my-name');
const dead = join(dataFolder, 'loras', 'a.safetensors.999999999-0.i2l-part');
beforeAll(async () => {
  mkdirSync(dirname(dead), { recursive: true });
  writeFileSync(dead, 'half a LoRA');
  app = await openApp({ dataFolder, name: 'a test' });
  api = createRouterClient(router, { context: { ...app.services, mode: 'server' } });
});
afterAll(() => app.close());

test('what a process that died had half written among the LoRAs is gone with the next start', () => {
  expect(existsSync(dead)).toBe(false);
});

test('diagnostics hold machine, settings, devices and the latest errors, and no file names', async () => {
  await api.app.settings.set({ device: 'cpu', modelsFolder: join(base, 'my-name') });
  const file = join(base, 'my-name', 'gone.safetensors');
  const input = { kind: 'spectrum', file, output: `${file}.out`, memory: 2 ** 30, device: 'cpu', threads: 1 };
  const { id } = app.services.queue.enqueue({ kind: 'spectrum', title: 'my-name', input });
  await expect.poll(async () => hasEnded((await api.jobs.get({ id })).state), { timeout: 30_000 }).toBe(true);
  const { text } = await api.app.diagnostics();
  expect(text).toMatch(/^i2L Studio \d+\.\d+\.\d+ \(server\)\n/);
  expect(text).toMatch(/^cpu: not tested, auto$/m);
  expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ spectrum failed: FILE_NOT_FOUND, .*attempt 1$/m);
  expect(text).toContain('"modelsFolder":"own"');
  expect(text).not.toContain('my-name');
});

test('what is wrong with the settings’ file, and with a ComfyUI, comes as notes that the page has words for', async () => {
  const dataFolder = join(base, 'damaged');
  const comfyui = join(base, 'ComfyUI');
  mkdirSync(dataFolder);
  mkdirSync(join(comfyui, 'models', 'loras'), { recursive: true });
  writeFileSync(join(comfyui, 'extra_model_paths.yaml'), 'a: [');
  writeFileSync(join(dataFolder, 'settings.json'), JSON.stringify({ threads: -1, comfyuiFolders: [comfyui] }));
  const damaged = await openApp({ dataFolder, name: 'a test' });
  try {
    const page: Api = createRouterClient(router, { context: { ...damaged.services, mode: 'server' } });
    expect((await page.app.info()).notes).toMatchObject([{ code: 'SETTINGS_LEFT_OUT', fields: { settings: ['threads'] } }]);
    const [install] = await page.comfyui.installs();
    expect(install).toMatchObject({ kind: 'named', root: comfyui, notes: [{ code: 'COMFYUI_PATHS_NO_YAML' }] });
  } finally {
    await damaged.close();
  }
});

test('a server keeps no tokens; where there is a keychain they go there, and never come back', async () => {
  const error = await api.models.keepToken({ hub: 'huggingface', token: 'hf_x' }).catch(errorFromWire);
  expect(error).toMatchObject({ code: 'BAD_ARGUMENT', message: expect.stringMatching(/HF_TOKEN/) });
  expect((await api.models.overview()).canKeepTokens).toBe(false);
  const kept: [string, string | null][] = [];
  const tokens = {
    canKeep: true,
    get: () => Promise.resolve(undefined),
    keep: (hub: string, token: string | null) => Promise.resolve(void kept.push([hub, token])),
  };
  const desktop: Api = createRouterClient(router, { context: { ...app.services, tokens, mode: 'desktop' } });
  expect((await desktop.models.overview()).canKeepTokens).toBe(true);
  expect(await desktop.models.keepToken({ hub: 'modelscope', token: 'ms_x' })).toEqual({});
  await desktop.models.keepToken({ hub: 'modelscope', token: null });
  expect(await desktop.models.keepToken({ hub: 'huggingface', token: 'two words' }).catch(errorFromWire)).toMatchObject({
    code: 'BAD_ARGUMENT',
  });
  expect(kept).toEqual([
    ['modelscope', 'ms_x'],
    ['modelscope', null],
  ]);
});

test('a LoRA is shown in its folder by its number; a browser is told that it can’t be, and so is who asks for one that is gone', async () => {
  const { file } = makeLora(join(base, 'shown.safetensors'), 1);
  const { id } = app.services.library.loras.add(await readLora(file));
  expect(await api.loras.reveal({ id }).catch(errorFromWire)).toMatchObject({ code: 'BAD_ARGUMENT' });
  const shown: string[] = [];
  const context = { ...app.services, mode: 'desktop' as const, showInFolder: (path: string) => void shown.push(path) };
  const desktop: Api = createRouterClient(router, { context });
  expect(await desktop.loras.reveal({ id })).toEqual({});
  rmSync(file);
  expect(await desktop.loras.reveal({ id }).catch(errorFromWire)).toMatchObject({ code: 'FILE_NOT_FOUND' });
  expect(await desktop.loras.reveal({ id: 99 }).catch(errorFromWire)).toMatchObject({ code: 'NOT_IN_LIBRARY' });
  expect(shown).toEqual([file]);
});

describe('the paths that a page names', () => {
  test('a browser has no dialog, and says the whole path', async () => {
    expect((await api.app.info()).canPick).toBe(false);
    const asked = api.app.pick({ what: 'folder', title: 'Folder' });
    expect(await asked.catch(errorFromWire)).toMatchObject({ code: 'UNSUPPORTED', fields: { reason: 'no-picker' } });
    const relative = api.app.settings.set({ comfyuiFolders: ['ComfyUI'] });
    expect(await relative.catch(errorFromWire)).toMatchObject({ code: 'BAD_ARGUMENT', fields: { reason: 'path-not-whole' } });
  });

  test('the window names what was chosen in a dialog, what is set already, and no more', async () => {
    const chosen = new ChosenPaths();
    const folder = join(base, 'chosen');
    const pick = (): Promise<string[]> => {
      chosen.add([folder]);
      return Promise.resolve([folder]);
    };
    const own = { ...app.services, mode: 'desktop', pick, allowPath: (path: string) => chosen.allow(path) } as const;
    const desktop: Api = createRouterClient(router, { context: own });
    expect((await desktop.app.info()).canPick).toBe(true);
    const other = { code: 'BAD_ARGUMENT', fields: { reason: 'path-not-chosen' } };
    await api.app.settings.set({ comfyuiFolders: [join(base, 'set before')] });
    const { comfyuiFolders } = await api.app.settings.get();
    const change = { comfyuiFolders: [...comfyuiFolders, folder], modelsFolder: folder };
    expect(await desktop.app.settings.set(change).catch(errorFromWire)).toMatchObject(other);
    expect(await desktop.models.scan({ folders: [folder] }).catch(errorFromWire)).toMatchObject(other);
    expect(await desktop.app.pick({ what: 'folder', title: 'Folder' })).toEqual({ paths: [folder] });
    expect(await desktop.app.settings.set(change)).toMatchObject(change);
    expect(await desktop.sets.importFolder({ folder: base }).catch(errorFromWire)).toMatchObject(other);
  });
});

test('LoRAs are dragged out by their numbers, all or none; a browser is told that it can’t', async () => {
  const files = [2, 3].map((seed) => makeLora(join(base, `dragged-${seed}.safetensors`), seed).file);
  const [one = 0, other = 0] = await Promise.all(
    files.map(async (file) => app.services.library.loras.add(await readLora(file)).id),
  );
  expect(await api.loras.dragOut({ ids: [one] }).catch(errorFromWire)).toMatchObject({ code: 'BAD_ARGUMENT' });
  const dragged: (readonly string[])[] = [];
  const dragOut = (paths: readonly string[]): Promise<void> => Promise.resolve(void dragged.push(paths));
  const desktop: Api = createRouterClient(router, { context: { ...app.services, mode: 'desktop', dragOut } });
  expect(await desktop.loras.dragOut({ ids: [one, other] })).toEqual({});
  rmSync(files[1] ?? '');
  expect(await desktop.loras.dragOut({ ids: [one, other] }).catch(errorFromWire)).toMatchObject({ code: 'FILE_NOT_FOUND' });
  expect(await desktop.loras.dragOut({ ids: [99] }).catch(errorFromWire)).toMatchObject({ code: 'NOT_IN_LIBRARY' });
  expect(dragged).toEqual([files]);
});
