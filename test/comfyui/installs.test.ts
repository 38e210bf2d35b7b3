import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findInstalls, resolveNamed, type ComfyInstall } from '../../main/comfyui/locate.ts';

/** A made-up home folder; paths are the host's, whatever platform the search believes in. */
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'i2l-home-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

function file(path: string, text = ''): void {
  mkdirSync(dirname(join(home, path)), { recursive: true });
  writeFileSync(join(home, path), text);
}

function folder(path: string): void {
  mkdirSync(join(home, path), { recursive: true });
}

/** A checkout of ComfyUI, as far as anybody looks. */
function comfyui(path: string): void {
  for (const name of ['main.py', 'folder_paths.py']) file(join(path, name));
  folder(join(path, 'models', 'loras'));
}

const search = (platform: NodeJS.Platform, env: Record<string, string> = {}, roots: string[] = []): ComfyInstall[] =>
  findInstalls({ home, env, platform, system: [], roots });

const shown = (installs: ComfyInstall[]): [string, string][] =>
  installs.map(({ kind, lorasFolders }) => [kind, lorasFolders[0]?.path.slice(home.length + 1) ?? '']);

test('an empty home has none', () => {
  expect(search('linux')).toEqual([]);
});

describe('each layout is found', () => {
  test('a clone', () => {
    comfyui('ComfyUI');
    expect(shown(search('linux'))).toEqual([['git', join('ComfyUI', 'models', 'loras')]]);
  });

  test('the Windows portable', () => {
    comfyui(join('Downloads', 'ComfyUI_windows_portable', 'ComfyUI'));
    folder(join('Downloads', 'ComfyUI_windows_portable', 'python_embeded'));
    const loras = join('Downloads', 'ComfyUI_windows_portable', 'ComfyUI', 'models', 'loras');
    expect(shown(search('win32'))).toEqual([['portable', loras]]);
  });

  test.each([
    ['linux', join('.config', 'ComfyUI')],
    ['darwin', join('Library', 'Application Support', 'ComfyUI')],
    ['win32', join('AppData', 'Roaming', 'ComfyUI')],
  ] as const)('the old desktop app on %s', (platform, settings) => {
    folder(join('elsewhere', 'models', 'loras'));
    file(join(settings, 'config.json'), JSON.stringify({ basePath: join(home, 'elsewhere') }));
    expect(shown(search(platform))).toEqual([['desktop', join('elsewhere', 'models', 'loras')]]);
  });

  test("the new desktop app's shared folder", () => {
    folder(join('ComfyUI-Shared', 'models', 'loras'));
    expect(shown(search('linux'))).toEqual([['desktop-new', join('ComfyUI-Shared', 'models', 'loras')]]);
  });

  test('Pinokio', () => {
    comfyui(join('pinokio', 'api', 'comfy.git', 'app'));
    expect(shown(search('darwin'))).toEqual([['pinokio', join('pinokio', 'api', 'comfy.git', 'app', 'models', 'loras')]]);
  });

  test('Stability Matrix', () => {
    folder(join('StabilityMatrix', 'Data', 'Models', 'Lora'));
    expect(shown(search('linux'))).toEqual([['stability-matrix', join('StabilityMatrix', 'Data', 'Models', 'Lora')]]);
  });

  test('all of them at once, each once, a link to one not twice', () => {
    comfyui('ComfyUI');
    comfyui(join('pinokio', 'api', 'c', 'app'));
    folder(join('ComfyUI-Shared', 'models', 'loras'));
    symlinkSync(join(home, 'ComfyUI'), join(home, 'ComfyUI-link'));
    expect(search('linux').map(({ kind }) => kind).sort()).toEqual(['desktop-new', 'git', 'pinokio']); // prettier-ignore
  });
});

describe('extra_model_paths.yaml', () => {
  const yaml = (text: string): void => {
    comfyui('ComfyUI');
    file(join('ComfyUI', 'extra_model_paths.yaml'), text);
  };
  const folders = (): string[] => search('linux')[0]?.lorasFolders.map(({ path }) => path.slice(home.length + 1)) ?? [];

  test('adds its folders, relative to its base path', () => {
    folder(join('shared', 'loras'));
    yaml(`mine:\n  base_path: ../shared\n  loras: loras\n`);
    expect(folders()).toEqual([join('ComfyUI', 'models', 'loras'), join('shared', 'loras')]);
  });

  test('is_default puts them first; several on several lines', () => {
    folder(join('shared', 'one'));
    folder(join('shared', 'two'));
    yaml(`mine:\n  base_path: ~/shared\n  is_default: true\n  loras: |\n    one\n    two\n`);
    expect(new Set(folders().slice(0, 2))).toEqual(new Set([join('shared', 'one'), join('shared', 'two')]));
  });

  test('a malformed one is noted, and the install is there', () => {
    yaml('mine: [unclosed');
    const [install] = search('linux');
    expect(install?.notes).toHaveLength(1);
    expect(install?.lorasFolders).toHaveLength(1);
  });
});

describe('a folder that the user names', () => {
  test.each(['.', join('models'), join('models', 'loras')])('ComfyUI/%s', (inner) => {
    comfyui('ComfyUI');
    const { lorasFolders } = resolveNamed(join(home, 'ComfyUI', inner), { home, env: {}, platform: 'linux' });
    expect(lorasFolders[0]?.path).toBe(join(home, 'ComfyUI', 'models', 'loras'));
    expect(lorasFolders[0]).toMatchObject({ isDefault: true, writable: true });
  });

  test('another folder: says what was expected', () => {
    folder('music');
    expect(() => resolveNamed(join(home, 'music'))).toThrow(
      expect.objectContaining({ code: 'COMFYUI_NOT_FOUND', message: expect.stringContaining('loras folder') as string }) as Error,
    );
  });

  test('one that is not there', () => {
    expect(() => resolveNamed(join(home, 'nowhere'))).toThrow(expect.objectContaining({ code: 'FILE_NOT_FOUND' }) as Error);
  });
});
