import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readExtraPaths } from '../../main/comfyui/extra-paths.ts';
import type { Surroundings } from '../../main/comfyui/folders.ts';
import { tempFolder } from '../unit/temp.ts';
import { FakeHome } from './fake-home.ts';

const root = tempFolder();
const HOME = join(root, 'home');
const LINUX: Surroundings = { home: HOME, env: { DISK: '/disk', EMPTY: '' }, platform: 'linux' };
const WINDOWS: Surroundings = { home: HOME, env: { Disk: '/disk' }, platform: 'win32' };

function read(text: string, surroundings = LINUX) {
  const folder = mkdtempSync(join(root, 'yaml-'));
  const file = join(folder, 'extra_model_paths.yaml');
  writeFileSync(file, text);
  const { folders, notes } = readExtraPaths(file, surroundings);
  return { folder, file, paths: folders.map(({ path }) => path), defaults: folders.map(({ isDefault }) => isDefault), notes };
}

describe('extra_model_paths.yaml', () => {
  test('one path, several, of several sections, in order', () => {
    const { paths, notes } = read(`
# comment
comfyui:
    base_path: /data/comfy/
    checkpoints: models/checkpoints/
    loras: models/loras/
a111:
    base_path: /data/a1111
    loras: |
         models/Lora
         models/LyCORIS

empty:
none:
    checkpoints: x
`);
    expect(paths).toEqual(['/data/comfy/models/loras', '/data/a1111/models/Lora', '/data/a1111/models/LyCORIS']);
    expect(notes).toEqual([]);
  });

  test.each([
    ['~/models', join(HOME, 'models/l')],
    ['~', join(HOME, 'l')],
    ['$DISK/m', '/disk/m/l'],
    ['${DISK}/m', '/disk/m/l'],
    ['${EMPTY}/m', '/m/l'],
    ['/x/$NOT_SET', '/x/$NOT_SET/l'],
    ['/x/%DISK%', '/x/%DISK%/l'],
    ['/x/~', '/x/~/l'],
  ])('base_path %s', (base, expected) => {
    expect(read(`a:\n  base_path: "${base}"\n  loras: l\n`).paths).toEqual([expected]);
  });

  test('on Windows variables are written with percent signs too, in any case', () => {
    expect(read('a:\n  base_path: "%DISK%/m"\n  loras: l\n', WINDOWS).paths).toEqual(['/disk/m/l']);
    expect(read('a:\n  base_path: "$disk/%NOT SET%"\n  loras: l\n', WINDOWS).paths).toEqual(['/disk/%NOT SET%/l']);
  });

  test.each(['models', './models', 'x/../models', ''])('a relative base_path (%s) starts from the file', (base) => {
    const { folder, paths } = read(`a:\n  base_path: "${base}"\n  loras: l\n`);
    expect(paths).toEqual([base === '' ? join(folder, 'l') : join(folder, 'models', 'l')]);
  });

  test('without a base_path, paths start from the file; absolute ones stay; they are not expanded', () => {
    const { folder, paths } = read('a:\n  loras: |-\n    l\n    /abs/l\n    $DISK\n    ~/l\n');
    expect(paths).toEqual([join(folder, 'l'), '/abs/l', join(folder, '$DISK'), join(folder, '~/l')]);
    expect(read('a:\n  base_path: /b\n  loras: /abs/l\n').paths).toEqual(['/abs/l']);
  });

  test.each([
    ['true', true],
    ['yes', true],
    ['True', true],
    ['"false"', true],
    ['1', true],
    ['false', false],
    ['no', false],
    ['0', false],
    ['', false],
    ['""', false],
  ])('is_default: %s', (text, expected) => {
    expect(read(`a:\n  is_default: ${text}\n  loras: /l\n`).defaults).toEqual([expected]);
  });

  test('quotes, anchors, a byte order mark, Windows line ends, the last of two keys', () => {
    expect(read(`\uFEFFa:\r\n  base_path: 'C:\\x'\r\n  loras: "/a b/l #1"\r\n`).paths).toEqual(['/a b/l #1']);
    expect(read('b: &base\n  base_path: /b\na:\n  <<: *base\n  loras: l\n').paths).toEqual(['/b/l']);
    expect(read('a:\n  loras: /one\n  loras: /two\n').paths).toEqual(['/two']);
  });

  test.each(['a: [', 'a:\n\tloras: x', '"unclosed', '- a\n- b', 'text', '\0\0', 'a: !!python/object:os.system {}\n- b'])(
    'what is not YAML of sections gives a note: %j',
    (text) => {
      const { paths, notes, file } = read(text);
      expect(paths).toEqual([]);
      expect(notes).toEqual([
        { code: 'COMFYUI_PATHS_NO_YAML', message: expect.stringMatching(/not valid YAML/) as string, fields: { file } },
      ]);
    },
  );

  test.each(['loras: [a, b]', 'loras: 7', 'loras: null', 'loras: x\n  base_path: 7', 'loras: x\n  base_path:'])(
    '%j is a note',
    (line) => {
      const { paths, notes, file } = read(`a:\n  ${line}\nb:\n  loras: /good\n`);
      expect(paths).toEqual(['/good']);
      expect(notes).toMatchObject([{ code: 'COMFYUI_SECTION_LEFT_OUT', fields: { file, section: 'a' } }]);
      expect(notes[0]?.message).toMatch(/loras and base_path of "a" need to be text/);
    },
  );

  test('an empty file, a missing one, a folder, a huge one, a bomb', () => {
    expect(read('')).toMatchObject({ paths: [], notes: [] });
    expect(read('# only a comment\n')).toMatchObject({ paths: [], notes: [] });
    expect(readExtraPaths(join(root, 'nowhere', 'x.yaml'), LINUX)).toEqual({ folders: [], notes: [] });
    mkdirSync(join(root, 'folder.yaml'));
    expect(readExtraPaths(join(root, 'folder.yaml'), LINUX)).toEqual({ folders: [], notes: [] });
    expect(read(`a: ${'x'.repeat(1_100_000)}`).notes).toMatchObject([
      { code: 'COMFYUI_PATHS_TOO_LARGE', fields: { bytes: 1_100_003 } },
    ]);
    expect(readExtraPaths(join(root, 'x'.repeat(300)), LINUX).notes).toMatchObject([
      { code: 'COMFYUI_PATHS_UNREADABLE', error: { code: 'FILE_UNREADABLE', fields: { system: 'ENAMETOOLONG' } } },
    ]);
    const bomb = Array.from(
      { length: 12 },
      (_, i) =>
        `k${i}: &k${i} [${
          i
            ? Array(10)
                .fill(`*k${i - 1}`)
                .join(', ')
            : 'x'
        }]`,
    );
    expect(read(bomb.join('\n')).notes).toHaveLength(1);
  });
});

describe('in an install', () => {
  test('ComfyUI looks into is_default folders first, the last of them before all', () => {
    const home = new FakeHome(root, 'linux');
    home.comfy('ComfyUI');
    const [a, b, c] = ['a', 'b', 'c'].map((name) => home.folder(name));
    home.file(
      'ComfyUI/extra_model_paths.yaml',
      `x:\n  loras: ${a}\ny:\n  is_default: true\n  loras: |\n    ${b}\n    ${c}\n    /not/there\n`,
    );
    const install = home.find()[0]!;
    expect(install.lorasFolders.map(({ path, isDefault }) => [path, isDefault])).toEqual([
      [c, true],
      [b, false],
      [home.path('ComfyUI/models/loras'), false],
      [a, false],
    ]);
    const fields = { file: home.path('ComfyUI/extra_model_paths.yaml'), folder: '/not/there' };
    expect(install.notes).toMatchObject([{ code: 'COMFYUI_FOLDER_MISSING', fields }]);
  });
});
