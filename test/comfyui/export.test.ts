import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync,
} from 'node:fs'; // prettier-ignore
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { exportToComfyui, type ExportRequest, type ExportResult } from '../../main/comfyui/export.ts';
import { expectRefusal, rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { makeLora } from './fake-home.ts';

const root = tempFolder();
const PNG = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from('rest')]);
const METADATA = {
  'modelspec.title': 'Fox',
  'modelspec.tags': 'image-to-lora, fox',
  ss_base_model_version: 'Qwen',
  ss_network_dim: '12',
  'i2l.target': 'qwen-image',
  'i2l.images': '[{}, {}, {}]',
};

/** A LoRA outside, and a ComfyUI's loras folder. */
function setUp(value = 1): { file: string; lorasFolder: string; lora: (value: number) => string } {
  const folder = mkdtempSync(join(root, 'case-'));
  const lorasFolder = join(folder, 'ComfyUI', 'models', 'loras');
  mkdirSync(lorasFolder, { recursive: true });
  const lora = (content: number): string => makeLora(join(folder, `out-${content}`, 'fox.safetensors'), content, METADATA);
  return { file: lora(value), lorasFolder, lora };
}

const run = (request: Omit<ExportRequest, 'sidecar'> & { sidecar?: boolean }): Promise<ExportResult> =>
  exportToComfyui({ sidecar: false, ...request });

const namesIn = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String).sort() : [];
const hashOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

describe('an export', () => {
  test('lies in the sub-folder, byte for byte', async () => {
    const { file, lorasFolder } = setUp();
    const result = await run({ file, lorasFolder });
    const path = join(lorasFolder, 'i2L', 'fox.safetensors');
    expect(result).toEqual({
      path,
      loraName: process.platform === 'win32' ? 'i2L\\fox.safetensors' : 'i2L/fox.safetensors',
      sha256: hashOf(file),
      bytes: statSync(file).size,
      wrote: true,
      sidecars: [],
      notes: [],
    });
    expect(readFileSync(path)).toEqual(readFileSync(file));
    expect(namesIn(lorasFolder)).toEqual(['i2L', join('i2L', 'fox.safetensors')]);
  });

  test('is called by ComfyUI with the separators of the platform', async () => {
    const { file, lorasFolder } = setUp();
    expect((await run({ file, lorasFolder, subfolder: 'a/b', platform: 'win32' })).loraName).toBe('a\\b\\fox.safetensors');
    expect((await run({ file, lorasFolder, subfolder: 'a\\b', platform: 'linux' })).loraName).toBe('a/b/fox.safetensors');
    expect((await run({ file, lorasFolder, subfolder: '' })).loraName).toBe('fox.safetensors');
  });

  test('is named by a template', async () => {
    const { file, lorasFolder } = setUp();
    const { path } = await run({
      file,
      lorasFolder,
      name: '{name} {target} r{rank} {images} {date}',
      now: new Date(2026, 4, 3),
      fields: { name: 'my/fox' },
    });
    expect(path).toBe(join(lorasFolder, 'i2L', 'my-fox qwen-image r12 3 2026-05-03.safetensors'));
  });

  test.each(['../../outside', '..\\outside', '/abs', 'con', '.', 'x'.repeat(500)])(
    'stays in the folder when it is named %s',
    async (name) => {
      const { file, lorasFolder } = setUp();
      const { path } = await run({ file, lorasFolder, name });
      expect(dirname(path)).toBe(join(lorasFolder, 'i2L'));
      expect(existsSync(path)).toBe(true);
    },
  );

  test('makes the loras folder of a ComfyUI that was never started, but no disk that is not there', async () => {
    const { file, lorasFolder } = setUp();
    rmSync(lorasFolder, { recursive: true });
    expect((await run({ file, lorasFolder })).wrote).toBe(true);
    const gone = join(root, 'gone', 'models', 'loras');
    expectRefusal(await rejectionOf(run({ file, lorasFolder: gone })), 'FILE_NOT_FOUND', gone, /not there/);
    expect(existsSync(join(root, 'gone'))).toBe(false);
  });

  test('goes through a loras folder that is a link', async () => {
    const { file, lorasFolder } = setUp();
    const disk = mkdtempSync(join(root, 'disk-'));
    rmSync(lorasFolder, { recursive: true });
    symlinkSync(disk, lorasFolder, 'junction');
    const result = await run({ file, lorasFolder });
    expect(result.path).toBe(join(lorasFolder, 'i2L', 'fox.safetensors'));
    expect(existsSync(join(disk, 'i2L', 'fox.safetensors'))).toBe(true);
  });

  test('of a read-only file can be made', async () => {
    const { file, lorasFolder } = setUp();
    chmodSync(file, 0o444);
    expect((await run({ file, lorasFolder })).wrote).toBe(true);
  });
});

describe('what is there already', () => {
  test('the same content is not written again', async () => {
    const { file, lorasFolder } = setUp();
    const { path } = await run({ file, lorasFolder });
    const { mtimeMs } = statSync(path);
    const again = await run({ file, lorasFolder, freeBytes: () => Promise.resolve(0) });
    expect(again).toMatchObject({ path, wrote: false, notes: [{ code: 'LORA_ALREADY_THERE', fields: { file: path } }] });
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
  });

  test('other content gets the next version, and each version is found again', async () => {
    const { file, lorasFolder, lora } = setUp();
    const paths: string[] = [];
    for (const value of [1, 2, 3, 2]) paths.push((await run({ file: lora(value), lorasFolder })).loraName);
    expect(paths.map((path) => path.slice(4))).toEqual([
      'fox.safetensors', 'fox-v2.safetensors', 'fox-v3.safetensors', 'fox-v2.safetensors',
    ]); // prettier-ignore
    expect(hashOf(join(lorasFolder, 'i2L', 'fox.safetensors'))).toBe(hashOf(file));
    expect(namesIn(join(lorasFolder, 'i2L'))).toHaveLength(3);
  });

  test.each(['folder', 'link to nowhere', 'text', 'preview alone'])('a %s of that name is left alone', async (kind) => {
    const { file, lorasFolder } = setUp();
    const taken = join(lorasFolder, 'i2L', 'fox.safetensors');
    mkdirSync(dirname(taken));
    if (kind === 'folder') mkdirSync(taken);
    else if (kind === 'text') writeFileSync(taken, 'mine');
    else if (kind === 'preview alone') writeFileSync(join(dirname(taken), 'fox.preview.png'), 'mine');
    else symlinkSync(join(root, 'nowhere'), taken);
    const before = namesIn(dirname(taken));
    const { path, notes } = await run({ file, lorasFolder, preview: PNG });
    expect(path).toBe(join(lorasFolder, 'i2L', 'fox-v2.safetensors'));
    expect(notes).toMatchObject([{ code: 'LORA_OTHER_NAME', fields: { name: 'fox-v2' } }]);
    expect(namesIn(dirname(taken))).toEqual(expect.arrayContaining(before));
    if (kind === 'text') expect(readFileSync(taken, 'utf8')).toBe('mine');
  });

  test('a name that had other content is not used again', async () => {
    const { file, lorasFolder } = setUp();
    const used = join(lorasFolder, 'i2L', 'fox.safetensors');
    const { path } = await run({ file, lorasFolder, wasUsed: (name) => name === used });
    expect(path).toBe(join(lorasFolder, 'i2L', 'fox-v2.safetensors'));
  });

  test('a file that appears in the meantime is not replaced', async () => {
    const { file, lorasFolder } = setUp();
    const taken = join(lorasFolder, 'i2L', 'fox.safetensors');
    const { path, wrote } = await run({
      file,
      lorasFolder,
      preview: PNG,
      copy: async (source, temporary) => {
        copyFileSync(source, temporary);
        if (!existsSync(taken)) writeFileSync(taken, 'quicker');
        await Promise.resolve();
      },
    });
    expect([path, wrote]).toEqual([join(lorasFolder, 'i2L', 'fox-v2.safetensors'), true]);
    expect(readFileSync(taken, 'utf8')).toBe('quicker');
    expect(namesIn(dirname(taken))).toEqual(['fox-v2.preview.png', 'fox-v2.safetensors', 'fox.safetensors']);
  });

  test('many exports at once of different content all arrive', async () => {
    const { lorasFolder, lora } = setUp();
    const results = await Promise.all([1, 2, 3, 4].map((value) => run({ file: lora(value), lorasFolder })));
    expect(new Set(results.map(({ path }) => path)).size).toBe(4);
    for (const { path, sha256 } of results) expect(hashOf(path)).toBe(sha256);
    expect(namesIn(join(lorasFolder, 'i2L'))).toHaveLength(4);
  });

  test('the file itself, exported to where it lies', async () => {
    const { file, lorasFolder } = setUp();
    const { path } = await run({ file, lorasFolder });
    expect(await run({ file: path, lorasFolder })).toMatchObject({ path, wrote: false });
  });
});

describe('files beside it', () => {
  test('a preview and what ComfyUI-Lora-Manager reads', async () => {
    const { file, lorasFolder } = setUp();
    const details = { notes: 'a note', triggerWords: ['fox'], strength: 0.8 };
    const { path, sidecars, bytes, sha256 } = await run({ file, lorasFolder, preview: PNG, sidecar: true, details });
    const base = join(lorasFolder, 'i2L', 'fox');
    expect(sidecars).toEqual([`${base}.preview.png`, `${base}.metadata.json`]);
    expect(readFileSync(`${base}.preview.png`)).toEqual(PNG);
    const forward = (text: string): string => text.replaceAll('\\', '/');
    expect(JSON.parse(readFileSync(`${base}.metadata.json`, 'utf8'))).toEqual({
      file_name: 'fox',
      model_name: 'Fox',
      file_path: forward(path),
      size: bytes,
      modified: statSync(path).mtimeMs / 1000,
      sha256,
      base_model: 'Qwen',
      preview_url: forward(`${base}.preview.png`),
      preview_nsfw_level: 0,
      notes: 'a note',
      from_civitai: false,
      civitai: { trainedWords: ['fox'] },
      tags: ['image-to-lora', 'fox'],
      modelDescription: '',
      favorite: false,
      usage_tips: '{"strength":0.8}',
    });
  });

  test('are added later to a LoRA that is there, and never replaced', async () => {
    const { file, lorasFolder } = setUp();
    await run({ file, lorasFolder });
    const later = await run({ file, lorasFolder, preview: PNG, sidecar: true });
    expect(later).toMatchObject({ wrote: false, sidecars: { length: 2 } });
    const [preview = ''] = later.sidecars;
    writeFileSync(preview, "the user's own");
    await run({ file, lorasFolder, preview: PNG, sidecar: true });
    expect(readFileSync(preview, 'utf8')).toBe("the user's own");
  });

  test('a preview may be a file; it has to be a PNG', async () => {
    const { file, lorasFolder } = setUp();
    const png = join(dirname(file), 'p.png');
    writeFileSync(png, PNG);
    expect((await run({ file, lorasFolder, preview: png })).sidecars).toHaveLength(1);
    writeFileSync(png, 'GIF89a');
    expectRefusal(await rejectionOf(run({ file, lorasFolder, preview: png })), 'IMAGE_INVALID', png, /PNG/);
    const none = join(dirname(file), 'none.png');
    expectRefusal(await rejectionOf(run({ file, lorasFolder, preview: none })), 'FILE_NOT_FOUND', none, /no such file/);
    expect((await rejectionOf(run({ file, lorasFolder, preview: new Uint8Array() }))).code).toBe('IMAGE_INVALID');
  });
});

describe('nothing stays of an export that fails', () => {
  const nothingIn = (lorasFolder: string): void => expect(namesIn(lorasFolder)).toEqual([]);

  test('a full disk is seen before', async () => {
    const { file, lorasFolder } = setUp();
    const error = await rejectionOf(run({ file, lorasFolder, freeBytes: () => Promise.resolve(1000) }));
    expectRefusal(error, 'DISK_FULL', join(lorasFolder, 'i2L'), /1[.]0 kB free and 16[.]8 MB are needed/);
    expect((await run({ file, lorasFolder, freeBytes: () => Promise.resolve(undefined) })).wrote).toBe(true);
  });

  test('a disk that fills up while it is written', async () => {
    const { file, lorasFolder } = setUp();
    const copy = (_: string, temporary: string): Promise<void> => {
      writeFileSync(temporary, 'half');
      return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
    };
    const error = await rejectionOf(run({ file, lorasFolder, copy, preview: PNG, sidecar: true }));
    expectRefusal(error, 'DISK_FULL', join(lorasFolder, 'i2L', 'fox.safetensors'), /disk is full/);
    nothingIn(lorasFolder);
  });

  test('a copy that differs', async () => {
    const { file, lorasFolder } = setUp();
    const copy = (source: string, temporary: string): Promise<void> => {
      const bytes = readFileSync(source);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(temporary, bytes);
      return Promise.resolve();
    };
    const error = await rejectionOf(run({ file, lorasFolder, copy }));
    expectRefusal(error, 'FILE_WRITE_FAILED', join(lorasFolder, 'i2L', 'fox.safetensors'), /differs/);
    nothingIn(lorasFolder);
  });

  test('a sidecar that can not be made', async () => {
    const { file, lorasFolder } = setUp();
    const details = { notes: 1n as unknown as string };
    expect((await rejectionOf(run({ file, lorasFolder, preview: PNG, sidecar: true, details }))).code).toBe('FILE_WRITE_FAILED');
    nothingIn(lorasFolder);
  });

  test('a preview that gets lost before it has its name takes the LoRA with it, which had', async () => {
    const { file, lorasFolder } = setUp();
    const lose = (): string => {
      const folder = join(lorasFolder, 'i2L');
      const part = namesIn(folder).find((name) => name.includes('.preview.png.'));
      rmSync(join(folder, part ?? 'none'));
      return '';
    };
    // It is read when all parts but the last are there.
    const details = { notes: { toJSON: lose } as unknown as string };
    const error = await rejectionOf(run({ file, lorasFolder, preview: PNG, sidecar: true, details }));
    expect(error.fields['file']).toBe(join(lorasFolder, 'i2L', 'fox.preview.png'));
    nothingIn(lorasFolder);
  });

  test('a cancelled one', async () => {
    const { file, lorasFolder } = setUp();
    const stop = new AbortController();
    const copy = (source: string, temporary: string): Promise<void> => {
      copyFileSync(source, temporary);
      stop.abort();
      return Promise.resolve();
    };
    expect((await rejectionOf(run({ file, lorasFolder, copy, signal: stop.signal }))).code).toBe('CANCELLED');
    expect((await rejectionOf(run({ file, lorasFolder, signal: AbortSignal.abort() }))).code).toBe('CANCELLED');
    nothingIn(lorasFolder);
  });

  test('what was in the folder before stays', async () => {
    const { file, lorasFolder } = setUp();
    mkdirSync(join(lorasFolder, 'i2L'));
    writeFileSync(join(lorasFolder, 'i2L', 'other.txt'), 'x');
    const copy = (): Promise<void> => Promise.reject(new Error('broken'));
    expect((await rejectionOf(run({ file, lorasFolder, copy }))).message).toMatch(/broken/);
    expect(namesIn(lorasFolder)).toEqual(['i2L', join('i2L', 'other.txt')]);
  });

  test('parts of a process that died are cleared away by the next export', async () => {
    const { file, lorasFolder } = setUp();
    mkdirSync(join(lorasFolder, 'i2L'));
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    writeFileSync(join(lorasFolder, 'i2L', `fox.safetensors.${pid}-0.i2l-part`), 'half');
    await run({ file, lorasFolder });
    expect(namesIn(join(lorasFolder, 'i2L'))).toEqual(['fox.safetensors']);
  });

  test('what is no LoRA file, or not there', async () => {
    const { file, lorasFolder } = setUp();
    writeFileSync(file, 'no');
    expect((await rejectionOf(run({ file, lorasFolder }))).code).toBe('SAFETENSORS_HEADER');
    rmSync(file);
    expectRefusal(await rejectionOf(run({ file, lorasFolder })), 'FILE_NOT_FOUND', file, /no such file/);
    nothingIn(lorasFolder);
  });

  test('a path that is too long', async () => {
    const { file, lorasFolder } = setUp();
    const subfolder = 'x'.repeat(150);
    const long = { file, lorasFolder, subfolder, name: 'y'.repeat(150), platform: 'win32' } as const;
    const error = await rejectionOf(run(long));
    expect(error.code).toBe('PATH_TOO_LONG');
    expect(error.message).toMatch(/Windows allows 259; choose a shorter name/);
    nothingIn(lorasFolder);
    const deep = Array(40).fill('z'.repeat(120)).join('/');
    expect((await rejectionOf(run({ ...long, subfolder: deep, platform: 'linux' }))).message).toMatch(/4095 are allowed/);
    expect((await run({ ...long, longPaths: true })).wrote).toBe(true);
  });

  test('a loras folder that is a file', async () => {
    const { file, lorasFolder } = setUp();
    rmSync(lorasFolder, { recursive: true });
    writeFileSync(lorasFolder, 'x');
    expectRefusal(await rejectionOf(run({ file, lorasFolder })), 'FILE_WRITE_FAILED', lorasFolder, /not a folder/);
    expect(readFileSync(lorasFolder, 'utf8')).toBe('x');
  });
});

const NOBODY = 65534;

test.skipIf(process.platform === 'win32')('a folder without the right to write is refused before anything is written', async () => {
  const { file, lorasFolder } = setUp();
  chmodSync(lorasFolder, 0o555);
  if (process.getuid?.() !== 0) {
    expectRefusal(await rejectionOf(run({ file, lorasFolder })), 'FILE_WRITE_FAILED', lorasFolder, /permission denied/);
    chmodSync(lorasFolder, 0o755);
    return;
  }
  // Root may write everywhere, so somebody else tries it.
  for (let folder = dirname(lorasFolder); folder.startsWith(root); folder = dirname(folder)) chmodSync(folder, 0o755);
  chownSync(file, NOBODY, NOBODY);
  const module = JSON.stringify(new URL('../../main/comfyui/export.ts', import.meta.url).href);
  const request = JSON.stringify({ file, lorasFolder, sidecar: false });
  const script = `import { exportToComfyui } from ${module};
    await exportToComfyui(${request}).catch(({ code, message, fields }) => console.log(JSON.stringify({ code, message, fields })));`;
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const options = { uid: NOBODY, gid: NOBODY, cwd, encoding: 'utf8' } as const;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], options);
  expect(JSON.parse(stdout || JSON.stringify(stderr))).toMatchObject({
    code: 'FILE_WRITE_FAILED',
    fields: { file: lorasFolder },
    message: expect.stringMatching(/permission denied/) as string,
  });
  expect(namesIn(lorasFolder)).toEqual([]);
});
