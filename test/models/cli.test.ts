import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  foundModelSchema,
  modelViewSchema,
  pullProgressSchema,
  verifiedFileSchema,
  verifyProgressSchema,
} from '../../main/contract/models.ts';
import { errorShapeSchema } from '../../main/contract/wire-errors.ts';
import { catalogueEntry, CATALOGUE } from '../../main/weights/catalogue.ts';
import { makeTinyModels } from '../cli/tiny-models.ts';
import { endOf, runCli, startCli, type CliRun } from '../cli/run-cli.ts';
import { makeLora } from '../comfyui/fake-home.ts';
import { tempFolder } from '../unit/temp.ts';
import { HubServer } from './hub-server.ts';
import { sparseModel } from './sparse-models.ts';
import { noteSchema } from '../../main/contract/wire-notes.ts';

/** i2l models, as its users type it, with hubs of our own and a home of our own. */
const root = tempFolder();
const bias = catalogueEntry('qwen-image-i2l-bias');
const siglip = catalogueEntry('siglip2-g384');
const lora = readFileSync(makeLora(join(root, 'lora.safetensors'), 3));
const image = fileURLToPath(new URL('../parity/goldens/preprocess/inputs/portrait.jpg', import.meta.url));
let server: HubServer;
let home: string;
let env: Record<string, string>;

beforeEach(async () => {
  server = await HubServer.start();
  server.add(bias.hubs.huggingface, bias.file, lora);
  home = mkdtempSync(join(root, 'home-'));
  env = {
    HOME: home,
    USERPROFILE: home,
    I2L_HOME: join(home, 'i2l'),
    HF_ENDPOINT: server.hubUrl,
    MODELSCOPE_ENDPOINT: server.hubUrl,
  };
  for (const name of ['HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'XDG_CACHE_HOME', 'MODELSCOPE_CACHE', 'HF_TOKEN', 'http_proxy', 'HTTP_PROXY']) env[name] = ''; // prettier-ignore
});
afterEach(() => server.stop());

const i2l = (...args: string[]): Promise<CliRun> => runCli(['models', ...args], { env, cwd: home });
const target = (): string => join(home, 'i2l/models', bias.hubs.huggingface, bias.file);

const lineSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('models'), models: z.array(modelViewSchema.strict()) }),
  z.strictObject({ type: z.literal('scan'), models: z.array(foundModelSchema.strict()), others: z.int(), troubles: z.array(errorShapeSchema), seconds: z.number() }),
  z.strictObject({ type: z.literal('pulled'), received: z.number(), files: z.array(z.strictObject({ model: z.string(), path: z.string(), size: z.number(), received: z.number() })) }),
  z.strictObject({ type: z.literal('verified'), files: z.array(verifiedFileSchema.strict()) }),
  z.strictObject({ type: z.literal('removed'), bytes: z.number(), files: z.array(z.strictObject({ path: z.string(), bytes: z.number() })) }),
  z.strictObject({ type: z.literal('failed'), error: errorShapeSchema }),
  noteSchema.extend({ type: z.literal('note') }).strict(),
  pullProgressSchema.strict(),
  verifyProgressSchema.strict(),
]); // prettier-ignore
type Line = z.infer<typeof lineSchema>;

/** The last line of a --json run; every line is one that the contract knows. */
function lastOf<Type extends Line['type']>(run: CliRun, type: Type, code = 0): Extract<Line, { type: Type }> {
  const lines = run.stdout.trimEnd().split('\n').map((line) => lineSchema.parse(JSON.parse(line))); // prettier-ignore
  const last = lines.at(-1);
  expect({ type: last?.type, code: run.code, stderr: run.stderr }, run.stdout).toEqual({ type, code, stderr: '' });
  return last as Extract<Line, { type: Type }>;
}

describe('ls', () => {
  test('names every published model, with its size, its experts and its licence', async () => {
    const { models } = lastOf(await i2l('ls', '--json'), 'models');
    expect(models.map(({ id }) => id)).toEqual(CATALOGUE.map(({ id }) => id));
    expect(models.every(({ state }) => state === 'missing')).toBe(true);
    expect(models.find(({ id }) => id === 'dinov3-7b')).toMatchObject({
      bytes: 13432070144,
      licence: { id: 'dinov3', mustAccept: true },
      neededBy: expect.arrayContaining(['z-image/style']) as unknown,
    });
    const words = await i2l('ls');
    expect(words).toMatchObject({ code: 0, stderr: '' });
    for (const { id, title } of CATALOGUE) expect(words.stdout).toMatch(new RegExp(`missing +${id} +${title}`));
    expect(words.stdout).toContain('--accept-licence dinov3');
    expect(server.asked).toEqual([]);
  });

  test('and where they are', async () => {
    const cache = join(home, '.cache/huggingface/hub/models--x--y');
    const sha256 = createHash('sha256').update(lora).digest('hex');
    mkdirSync(join(cache, 'blobs'), { recursive: true });
    writeFileSync(join(cache, 'blobs', sha256), lora);
    mkdirSync(join(cache, 'snapshots/1'), { recursive: true });
    symlinkSync(`../../blobs/${sha256}`, join(cache, 'snapshots/1', bias.file));
    const view = lastOf(await i2l('ls', '--json'), 'models').models.find(({ id }) => id === bias.id);
    expect(view).toMatchObject({
      state: 'here',
      isDownloaded: false,
      found: { source: 'huggingface', path: join(cache, 'snapshots/1', bias.file) },
    });
    expect((await i2l('verify')).stdout).toMatch(/^good +qwen-image-i2l-bias/);
    expect(lastOf(await i2l('rm', 'bias', '--json'), 'failed', 2).error.code).toBe('BAD_ARGUMENT');
    expect(existsSync(join(cache, 'snapshots/1', bias.file))).toBe(true);
  });
});

describe('scan', () => {
  test("tells models, others and what can't be read", async () => {
    makeTinyModels(join(home, 'mine'));
    writeFileSync(join(home, 'mine/x.safetensors'), lora);
    writeFileSync(join(home, 'mine/bad.safetensors'), 'bad');
    const { models, others, troubles } = lastOf(await i2l('scan', 'mine', '--json'), 'scan');
    expect(models.map(({ network, variant, source }) => [network, variant, source]).sort()).toEqual(
      ['dinov3', 'i2l', 'siglip2'].map((network) => [network, 'other-sizes', 'named']),
    );
    expect(others).toBe(1);
    expect(troubles.map(({ fields }) => fields['file'])).toEqual([join(home, 'mine/bad.safetensors')]);
    const words = await i2l('scan', 'mine');
    expect(words.stdout).toContain('3 models, and 1 other safetensors files');
    expect(words.stdout).toContain('random weights');
    expect(existsSync(join(home, 'i2l/cache/model-headers.json'))).toBe(true);
    expect((await i2l('scan', 'nowhere')).code).toBe(1);
    expect(server.asked).toEqual([]);
  });
});

describe('pull', () => {
  test('an expert; then it is here', async () => {
    const { files, received } = lastOf(await i2l('pull', 'bias', '--json'), 'pulled');
    expect(files).toEqual([{ model: bias.id, path: target(), size: lora.length, received: lora.length }]);
    expect(received).toBe(lora.length);
    expect(readFileSync(target()).equals(lora)).toBe(true);
    const view = lastOf(await i2l('ls', '--json'), 'models').models.find(({ id }) => id === bias.id);
    expect(view).toMatchObject({ state: 'here', isDownloaded: true, found: { source: 'app', path: target() } });
    const again = await i2l('pull', 'qwen-image/bias', bias.id);
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toContain('0 B came over the network');
  });

  test("to a folder of the user's, from a mirror", async () => {
    env['HF_ENDPOINT'] = 'http://127.0.0.1:1';
    const run = await i2l(
      'pull',
      'bias',
      '--from',
      'huggingface',
      '--endpoint',
      server.hubUrl,
      '--to',
      'here',
      '--limit',
      '10MB',
      '--connections',
      '2',
    );
    expect(run.code, run.stderr).toBe(0);
    expect(existsSync(join(home, 'here', bias.hubs.huggingface, bias.file))).toBe(true);
    expect(run.stderr).toContain('qwen-image-i2l-bias (1 of 1');
  });

  test('a licence has to be accepted, before anything is asked', async () => {
    const { error } = lastOf(await i2l('pull', 'style', '--json'), 'failed', 1);
    expect(error).toMatchObject({
      code: 'LICENCE_NOT_ACCEPTED',
      fields: { licence: 'dinov3', url: catalogueEntry('dinov3-7b').licence.url },
    });
    expect(server.asked).toEqual([]);
    expect(lastOf(await i2l('pull', 'dinov3-7b', '--accept-licence', 'dinov3', '--json'), 'failed', 1).error.code).not.toBe(
      'LICENCE_NOT_ACCEPTED',
    );
    expect(server.asked).not.toEqual([]);
  });

  test('another model by that name is not kept', async () => {
    server.add(siglip.hubs.huggingface, siglip.file, lora);
    const { error } = lastOf(await i2l('pull', siglip.id, '--json'), 'failed', 1);
    expect(error).toMatchObject({ code: 'MODEL_MISMATCH', fields: { model: siglip.id } });
    expect(existsSync(join(home, 'i2l/models'))).toBe(true);
    expect(lastOf(await i2l('ls', '--json'), 'models').models.find(({ id }) => id === siglip.id)?.state).toBe('missing');
  });

  test.each([
    [['nonsense'], 2, 'BAD_ARGUMENT'],
    [['bias', '--from', 'huggingface', '--endpoint', 'ftp://x'], 2, 'BAD_ARGUMENT'],
    [['bias', '--from', 'huggingface', '--endpoint', 'http://127.0.0.1:1', '--to', 'f'], 1, 'HUB_UNREACHABLE'],
  ])('%s: a clear no', async (args, code, error) => {
    if (error === 'HUB_UNREACHABLE') expect(args).toContain('--endpoint');
    expect(lastOf(await i2l('pull', ...args, '--json'), 'failed', code).error.code).toBe(error);
  });

  test('interrupted, it goes on', async () => {
    const big = Buffer.concat([lora.subarray(0, 8), lora.subarray(8)]);
    server.add(bias.hubs.huggingface, bias.file, big);
    let told!: () => void;
    const begun = new Promise<void>((resolve) => (told = resolve));
    server.fault = ({ server: which }) => which === 'storage' && (told(), true);
    const child = startCli(['models', 'pull', 'bias', '--from', 'huggingface', '--json'], { env, cwd: home });
    const end = endOf(child);
    await begun;
    child.kill('SIGINT');
    expect(lastOf(await end, 'failed', 130).error.code).toBe('CANCELLED');
    server.fault = () => false;
    expect((await i2l('pull', 'bias')).code).toBe(0);
    expect(readFileSync(target()).equals(big)).toBe(true);
  });
});

describe('jobs that are not told where the models are', () => {
  const recipe = ['--json', '--experts', 'style'];

  test("take them from the app's folder, of whatever sizes", async () => {
    makeTinyModels(join(home, 'i2l/models'));
    const run = await runCli(['create', image, '-o', 'made.safetensors', '--device', 'cpu', '--no-cache', ...recipe], {
      env,
      cwd: home,
    });
    expect(run.code, run.stdout).toBe(0);
    expect(existsSync(join(home, 'made.safetensors'))).toBe(true);
  });

  test('or from wherever published ones are, in the files of other programs', async () => {
    const cache = join(home, '.cache/huggingface/hub/models--a--b/snapshots/1');
    sparseModel(join(cache, 'SigLIP2-G384/model.safetensors'), 'siglip2-g384');
    sparseModel(join(home, 'ComfyUI/models/clip_vision/dino.safetensors'), 'dinov3-7b');
    for (const name of ['main.py', 'folder_paths.py']) writeFileSync(join(home, 'ComfyUI', name), '');
    mkdirSync(join(home, 'ComfyUI/models/loras'));
    sparseModel(join(home, '.cache/modelscope/hub/DiffSynth-Studio/Qwen-Image-i2L/x.safetensors'), 'qwen-image-i2l-style');
    const run = await runCli(['plan', image, ...recipe], { env, cwd: home });
    expect(run.code, run.stdout).toBe(0);
    expect(run.stdout).toContain('"id":"siglip2-g384"');
  });

  test('or say all that is missing, and how to get it', async () => {
    const { error } = lastOf(await runCli(['plan', image, ...recipe], { env, cwd: home }), 'failed', 1);
    expect(error).toMatchObject({
      code: 'MODEL_MISSING',
      fields: { models: ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-style'] },
    });
    expect(error.message).toContain('20.6 GB');
    expect(error.message).toContain('i2l models pull siglip2-g384 dinov3-7b qwen-image-i2l-style');
    expect(server.asked).toEqual([]);
  });
});

describe('verify and rm', () => {
  test('good, damaged, mended, removed', async () => {
    expect((await i2l('verify')).stdout).toContain('nothing to verify');
    await i2l('pull', 'bias');
    expect(lastOf(await i2l('verify', '--json'), 'verified').files).toEqual([
      { path: target(), model: bias.id, state: 'good', bytes: lora.length, damagedBlocks: 0 },
    ]);
    const damaged = Buffer.from(lora);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    writeFileSync(target(), damaged);
    const run = await i2l('verify', 'bias');
    expect(run).toMatchObject({ code: 1 });
    expect(run.stdout).toContain('1 blocks; --repair');
    expect(lastOf(await i2l('verify', '--repair', '--json'), 'verified').files).toMatchObject([{ state: 'good' }]);
    expect(readFileSync(target()).equals(lora)).toBe(true);
    expect(lastOf(await i2l('rm', 'bias', '--json'), 'removed')).toMatchObject({ bytes: lora.length, files: [{ path: target() }] });
    expect(existsSync(dirname(target()))).toBe(false);
    expect(lastOf(await i2l('rm', 'bias', '--json'), 'failed', 2).error.code).toBe('BAD_ARGUMENT');
  });

  test('what another program has is checked with a word from a hub, if the user wants that', async () => {
    const path = join(home, 'DiffSynth-Studio/models', bias.hubs.huggingface, bias.file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, lora);
    expect((await i2l('verify')).stdout).toMatch(/^unknown .*--online asks/);
    expect(server.asked).toEqual([]);
    expect((await i2l('verify', '--online')).stdout).toMatch(/^good /m);
    const damaged = Buffer.from(lora);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    writeFileSync(path, damaged);
    const run = await i2l('verify', '--online', '--repair');
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/^damaged .*download it again/m);
    expect(statSync(path).size).toBe(lora.length);
    rmSync(path);
    expect((await i2l('verify', '--online')).stdout).toContain('nothing to verify');
  });

  test('a name that is none', async () => {
    for (const command of ['verify', 'rm'])
      expect(lastOf(await i2l(command, 'what', '--json'), 'failed', 2).error.code).toBe('BAD_ARGUMENT');
  });
});
