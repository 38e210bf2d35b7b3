import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { FakeHome, PLATFORMS } from '../comfyui/fake-home.ts';
import { tempFolder } from '../unit/temp.ts';
import { runCli, type CliRun } from './run-cli.ts';
import { makeTinyModels, TINY_MODULES } from './tiny-models.ts';

/** i2l export --comfyui as a user does it, on a made-up home folder. */
const folder = tempFolder();
const lora = join(folder, 'my style.safetensors');
const image = new URL('../../resources/examples/hills.jpg', import.meta.url).pathname;
const platform = PLATFORMS.find((name) => name === process.platform) ?? 'linux';

beforeAll(async () => {
  const models = makeTinyModels(join(folder, 'models'));
  const run = await runCli(['create', image, image, '--models', models, '--device', 'cpu', '-o', lora, '--quiet']);
  expect(run.code, run.stderr).toBe(0);
});

class User {
  readonly home = new FakeHome(folder, platform);
  readonly data = join(this.home.home, 'i2l');

  async run(...args: string[]): Promise<{ run: CliRun; last: Record<string, unknown> }> {
    const run = await runCli([...args, '--json'], { env: { ...this.home.env, I2L_HOME: this.data } });
    return { run, last: JSON.parse(run.stdout.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown> };
  }
}

const codeOf = ({ last }: { last: Record<string, unknown> }): unknown => (last['error'] as { code?: string } | undefined)?.code;

test('the only install is found; the LoRA, its preview and its sidecar lie there, and the record knows', async () => {
  const user = new User();
  user.home.comfy('ComfyUI');
  const { run, last } = await user.run('export', lora, '--comfyui', '--preview', image, '--sidecar', '--trigger', 'ink,wash');
  expect(run.code, run.stdout).toBe(0);
  const target = user.home.path('ComfyUI/models/loras/i2L/my style.safetensors');
  expect(last).toMatchObject({ type: 'export', path: target, loraName: join('i2L', 'my style.safetensors'), wrote: true });
  expect(readFileSync(target).equals(readFileSync(lora))).toBe(true);
  expect(readdirSync(user.home.path('ComfyUI/models/loras/i2L')).sort()).toEqual([
    'my style.metadata.json',
    'my style.preview.png',
    'my style.safetensors',
  ]);
  const sidecar = JSON.parse(readFileSync(target.replace('.safetensors', '.metadata.json'), 'utf8')) as object;
  expect(sidecar).toMatchObject({ civitai: { trainedWords: ['ink', 'wash'] } });
  const listed = await user.run('comfyui', '--exports');
  expect(listed.last).toMatchObject({ type: 'exports', exports: [{ state: 'present', entry: { path: target } }] });
});

test('at another rank it gets a name of its own, and nothing is left behind', async () => {
  const user = new User();
  const root = user.home.comfy('apps/ComfyUI');
  const { run, last } = await user.run('export', lora, '--comfyui', root, '--rank', '3', '--device', 'cpu');
  expect(run.code, run.stdout).toBe(0);
  const target = join(root, 'models', 'loras', 'i2L', 'my style-r3.safetensors');
  expect(last).toMatchObject({ path: target });
  const { tensors } = readSafetensors(target);
  expect(tensors.size).toBe(2 * TINY_MODULES);
  for (const [key, { shape }] of tensors) expect(shape[key.includes('lora_A') ? 0 : 1], key).toBe(3);
  expect(existsSync(join(user.data, 'cache')) ? readdirSync(join(user.data, 'cache')) : []).toEqual([]);
});

test('another content gets a new name; the same content is written once', async () => {
  const user = new User();
  user.home.comfy('ComfyUI');
  const other = join(user.home.home, 'my style.safetensors');
  copyFileSync(lora, other);
  const bytes = readFileSync(other);
  bytes[bytes.length - 2] = (bytes.at(-2) ?? 0) ^ 1;
  writeFileSync(other, bytes);
  await user.run('export', lora, '--comfyui');
  expect((await user.run('export', lora, '--comfyui')).last).toMatchObject({ wrote: false });
  const { last } = await user.run('export', other, '--comfyui');
  expect(last['path']).toMatch(/my style-v2\.safetensors$/);
});

test('what of an install can’t be used is said in English, as a note with a code', async () => {
  const user = new User();
  user.home.comfy('ComfyUI');
  const file = user.home.file('ComfyUI/extra_model_paths.yaml', 'a: [');
  const { last } = await user.run('comfyui');
  expect(last['installs']).toMatchObject([{ notes: [{ code: 'COMFYUI_PATHS_NO_YAML', fields: { file } }] }]);
  const { stdout } = await runCli(['comfyui'], { env: { ...user.home.env, I2L_HOME: user.data } });
  expect(stdout).toContain(`\n  ${file}: it is not valid YAML, so its folders are not listed.\n`);
});

test('no install, several, a folder that is none, a file that is no LoRA: each is said', async () => {
  const user = new User();
  expect(codeOf(await user.run('export', lora, '--comfyui'))).toBe('COMFYUI_NOT_FOUND');
  expect(codeOf(await user.run('export', lora, '--comfyui', folder))).toBe('COMFYUI_NOT_FOUND');
  user.home.comfy('ComfyUI');
  user.home.comfy('Documents/ComfyUI');
  const several = await user.run('export', lora, '--comfyui');
  expect((several.last['error'] as { fields: { installs: string[] } }).fields.installs).toHaveLength(2);
  expect((await user.run('comfyui')).last).toMatchObject({ type: 'comfyui', installs: [{}, {}] });
  const none = await user.run(
    'export',
    join(folder, 'models', 'style', 'model.safetensors'),
    '--comfyui',
    user.home.path('ComfyUI'),
  );
  expect(none.run.code).toBe(1);
  expect(codeOf(await user.run('export', image, '--comfyui', user.home.path('ComfyUI')))).toBe('SAFETENSORS_HEADER');
  const bare = await user.run('export', lora);
  expect([bare.run.code, codeOf(bare)]).toEqual([2, 'BAD_ARGUMENT']);
  expect(readdirSync(user.home.path('ComfyUI/models/loras'))).toEqual([]);
});
