import { getCurrentFuseWire, FuseV1Options } from '@electron/fuses';
import { fork, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { eventSchema, type EngineRequest } from '../../main/contract/engine.ts';
import type { Job } from '../../main/contract/job.ts';
import { NO_TELEMETRY } from '../../main/onnx/no-telemetry.ts';
import { makeDemoModels } from '../../main/pipelines/demo-models.ts';
import { tempFolder } from '../unit/temp.ts';
import { measure, sizeLine } from './bundle-size.ts';
import { packApp, type PackedApp } from './packed-app.ts';

const folder = tempFolder();
const own = `${process.platform}-${process.arch}`;
const EXAMPLES = ['hills', 'sea', 'town'];
let packed: PackedApp;

// The stand-in is laid out as Electron for Linux is.
describe.runIf(process.platform === 'linux')('the packaged app', () => {
  beforeAll(async () => {
    packed = await packApp(folder);
    console.log(`${packed.files.length} files, ${(packed.bytes / 1e6).toFixed(1)} MB without Electron`);
  });

  test('holds what runs', () => {
    expect(packed.files).toEqual(
      expect.arrayContaining([
        'package.json',
        'out/main/index.js',
        'out/main/engine.js',
        'out/main/reader-thread.js',
        'out/main/lane-thread.js',
        'out/main/chain-thread.js',
        'out/main/lora-thread.js',
        'out/main/demo-thread.js',
        'out/preload/index.cjs',
        'out/renderer/index.html',
        'out/renderer/licences.md',
        ...EXAMPLES.map((name) => `resources/examples/${name}.jpg`),
      ]),
    );
  });

  test('each part of the build stays within its budget', () => {
    const sizes = measure(join(packed.app, 'out'));
    console.log(sizes.map(sizeLine).join('\n'));
    expect(sizes.filter(({ over }) => over.length > 0).map(sizeLine)).toEqual([]);
  });

  test("holds none of the sources, tests and tools, nor another machine's binaries", () => {
    const ours = packed.files.filter((path) => !path.startsWith('node_modules/'));
    expect(ours.filter((path) => !/^out\/(main|preload|renderer)\/|^resources\/examples\/|^package\.json$/.test(path))).toEqual([]);
    expect(packed.files.filter((path) => /\.(map|ts|mts|cts|cc|h)$/.test(path))).toEqual([]);
    expect(packed.files.filter((path) => /node_modules\/(electron|vite|svelte|commander|ws|adm-zip)\//.test(path))).toEqual([]);
    expect(packed.files.filter((path) => /node_modules\/.*\/(tests?|docs|examples)\//.test(path))).toEqual([]);
    const foreign = /(darwin|win32|linuxmusl|linux)[-/](x64|arm64|arm|ia32)/;
    const binaries = packed.files.filter((path) => /\.(node|dll|dylib|so(\.[\d.]+)?)$/.test(path));
    expect(binaries.filter((path) => foreign.exec(path)?.[0].replace('/', '-') !== own)).toEqual([]);
  });

  test('has the native modules, and nothing else, beside the archive', () => {
    const modules = ['onnxruntime-node/bin', 'better-sqlite3/prebuilds', `@img/sharp-${own}`, `@img/sharp-libvips-${own}`];
    for (const module of modules) {
      expect(
        packed.unpacked.some((path) => path.startsWith(`node_modules/${module}/`)),
        module,
      ).toBe(true);
    }
    const others = packed.unpacked.filter((path) => !modules.some((module) => path.startsWith(`node_modules/${module}/`)));
    expect(others).toEqual([]);
    expect(packed.files.filter((path) => path.endsWith('.node') && !packed.unpacked.includes(path))).toEqual([]);
  });

  test('comes with licences: its own, Electron and each package that has one', () => {
    expect(readFileSync(join(packed.folder, 'resources/LICENSE.txt'), 'utf8')).toContain('Apache License');
    expect(existsSync(join(packed.folder, 'LICENSE.electron.txt'))).toBe(true);
    expect(readFileSync(join(packed.app, 'out/renderer/licences.md'), 'utf8')).toContain('svelte');
    for (const name of ['sharp', 'better-sqlite3', 'zod', 'undici', `@img/sharp-${own}`]) {
      expect(packed.files, name).toContain(`node_modules/${name}/LICENSE`);
    }
  });

  test('keeps the languages of the interface alone', () => {
    expect(existsSync(join(packed.folder, 'locales/zh-CN.pak'))).toBe(true);
    expect(existsSync(join(packed.folder, 'locales/fr.pak'))).toBe(false);
  });

  test("has Electron's fuses set", async () => {
    const wire = await getCurrentFuseWire(join(packed.folder, 'i2l-studio'));
    const on = (fuse: FuseV1Options): boolean => wire[fuse] === '1'.charCodeAt(0);
    expect([FuseV1Options.RunAsNode, FuseV1Options.EnableNodeOptionsEnvironmentVariable].map(on)).toEqual([false, false]);
    expect(on(FuseV1Options.EnableNodeCliInspectArguments)).toBe(false);
    expect(on(FuseV1Options.GrantFileProtocolExtraPrivileges)).toBe(false);
    expect(on(FuseV1Options.LoadBrowserProcessSpecificV8Snapshot)).toBe(false);
    expect(on(FuseV1Options.OnlyLoadAppFromAsar)).toBe(true);
    expect(on(FuseV1Options.EnableEmbeddedAsarIntegrityValidation)).toBe(true);
    expect(on(FuseV1Options.EnableCookieEncryption)).toBe(true);
  });

  test('starts, opens its library and serves its page', () => {
    const hooks = fileURLToPath(new URL('with-electron.mjs', import.meta.url));
    const home = join(folder, 'home');
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', hooks, join(packed.app, 'out/main/index.js')], {
      encoding: 'utf8',
      env: { ...process.env, I2L_HOME: home },
      timeout: 30_000,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { html, answers } = JSON.parse(stdout) as { html: string; answers: { url: string; status: number }[] };
    expect(html).toContain('<script');
    expect(answers.length).toBeGreaterThan(1);
    expect(answers.filter(({ status: answer }) => answer !== 200)).toEqual([]);
    expect(existsSync(join(home, 'library.db'))).toBe(true);
  });

  test('makes a LoRA and gives it another rank: the engine, its reader thread and the threads of the LoRA', async () => {
    const models = join(folder, 'models');
    makeDemoModels(models, () => undefined);
    const options = { memory: 2 ** 30, device: 'cpu', threads: 2, dtype: 'bf16', keyForm: 'comfyui' } as const;
    const made = join(folder, 'made.safetensors');
    const images = EXAMPLES.slice(0, 1).map((name) => ({ file: join(packed.app, `resources/examples/${name}.jpg`), weight: 1 }));
    const create: Job = {
      ...options,
      kind: 'create',
      sets: [{ output: made, images }],
      models,
      target: 'qwen-image',
      experts: [{ name: 'style', strength: 1 }],
      skipBad: false,
    };
    expect(await runPacked(create)).toMatchObject({ type: 'done' });
    const smaller = join(folder, 'smaller.safetensors');
    const rank: Job = {
      ...options,
      kind: 'reset-rank',
      file: made,
      choice: { kind: 'fixed', rank: 2 },
      split: 'b-heavy',
      output: smaller,
    };
    expect(await runPacked(rank)).toMatchObject({ type: 'done' });
    expect(existsSync(made) && existsSync(smaller)).toBe(true);
  });
});

/** In the packed engine, as a child of Node. */
function runPacked(job: Job): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = fork(join(packed.app, 'out/main/engine.js'), { env: { ...process.env, ...NO_TELEMETRY } });
    child.on('message', (message) => {
      const event = eventSchema.parse(message);
      if (event.type === 'done' || event.type === 'failed') {
        child.disconnect();
        resolve(event);
      }
    });
    child.on('exit', (code) => reject(new Error(`the engine ended with ${code}`)));
    child.send({ type: 'run', job } satisfies EngineRequest);
  });
}
