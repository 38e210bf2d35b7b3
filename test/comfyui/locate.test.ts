import { chmodSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { resolveNamed } from '../../main/comfyui/locate.ts';
import { expectRefusal, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { FakeHome, PLATFORMS } from './fake-home.ts';

const root = tempFolder();

describe.each(PLATFORMS)('on %s', (platform) => {
  const freshHome = (): FakeHome => new FakeHome(root, platform);
  /** The only install there is. */
  const only = (home: FakeHome) => {
    const found = home.find();
    expect(found).toHaveLength(1);
    return found[0]!;
  };
  const loras = (folder: string, isDefault = true) => ({
    path: join(folder, 'models', 'loras'),
    isDefault,
    source: 'models',
    writable: true,
  });

  test('an empty home has none', () => {
    expect(freshHome().find()).toEqual([]);
  });

  test.each(['ComfyUI', 'comfyui-dev', 'Documents/ComfyUI', 'Projects/ComfyUI', 'comfy/ComfyUI'])('a clone in %s', (place) => {
    const home = freshHome();
    const folder = home.comfy(place);
    expect(only(home)).toEqual({ kind: 'git', root: folder, lorasFolders: [loras(folder)], notes: [] });
  });

  test('a clone that a variable names', () => {
    const home = freshHome();
    const folder = home.comfy('elsewhere/deep/down/ui');
    expect(home.find()).toEqual([]);
    home.env['COMFYUI_PATH'] = folder;
    expect(only(home)).toMatchObject({ kind: 'git', root: folder });
  });

  test.each([
    'ComfyUI_windows_portable/ComfyUI',
    'Downloads/ComfyUI_windows_portable_amd/ComfyUI',
    'Desktop/ComfyUI_windows_portable_nvidia/ComfyUI_windows_portable/ComfyUI',
    'Downloads/ComfyUI_windows_portable_intel/ComfyUI_windows_portable/ComfyUI',
  ])('a portable in %s', (place) => {
    const home = freshHome();
    const folder = home.comfy(place);
    expect(only(home)).toMatchObject({ kind: 'portable', root: folder, lorasFolders: [loras(folder)] });
  });

  test('a renamed portable is known by its Python', () => {
    const home = freshHome();
    const folder = home.comfy('Desktop/my comfy/ComfyUI');
    home.folder('Desktop/my comfy/python_embeded');
    expect(only(home)).toMatchObject({ kind: 'portable', root: folder });
  });

  test('a portable in a folder of the whole machine', () => {
    const home = freshHome();
    const folder = home.comfy('drive/ComfyUI_windows_portable/ComfyUI');
    expect(home.find({ system: [home.path('drive')] })).toMatchObject([{ kind: 'portable', root: folder }]);
  });

  test('the old desktop app, whose settings name its folder', () => {
    const home = freshHome();
    const folder = home.folder('Big Disk/Comfy Stuff');
    home.folder('Big Disk/Comfy Stuff/models/loras');
    const extra = home.folder('Big Disk/more loras');
    home.file(`${home.appData}/ComfyUI/config.json`, JSON.stringify({ basePath: folder }));
    const yaml = `comfyui_desktop:\n  is_default: "true"\n  base_path: ${JSON.stringify(folder)}\n  loras: models/loras/\nmine:\n  loras: ${JSON.stringify(extra)}\n`;
    home.file(`${home.appData}/ComfyUI/extra_models_config.yaml`, yaml);
    expect(only(home)).toEqual({
      kind: 'desktop',
      root: folder,
      lorasFolders: [loras(folder), { path: extra, isDefault: false, source: 'extra_model_paths.yaml', writable: true }],
      notes: [],
    });
  });

  test.each(['Documents/ComfyUI', 'OneDrive/Documents/ComfyUI'])('the old desktop app at its default, %s', (place) => {
    const home = freshHome();
    home.folder(`${place}/models/loras`);
    expect(only(home)).toMatchObject({ kind: 'desktop', root: home.path(place) });
  });

  test('the new desktop app: shared models and an install of its own', () => {
    const home = freshHome();
    const base = platform === 'win32' ? 'AppData/Local/Comfy-Desktop/' : '';
    home.folder(`${base}ComfyUI-Shared/models/loras`);
    const own = home.comfy(`${base}ComfyUI-Installs/First/ComfyUI`);
    const shared = home.path(`${base}ComfyUI-Shared`);
    expect(only(home)).toEqual({ kind: 'desktop-new', root: shared, lorasFolders: [loras(shared), loras(own, false)], notes: [] });
  });

  test('the new desktop app upgraded in the home folder', () => {
    const home = freshHome();
    home.folder('ComfyUI-Shared/models/loras');
    expect(only(home)).toMatchObject({ kind: 'desktop-new', lorasFolders: [loras(home.path('ComfyUI-Shared'))] });
  });

  test('the new desktop app with models and installs elsewhere', () => {
    const home = freshHome();
    const models = home.folder('disk/all models');
    home.folder('disk/all models/loras');
    const own = home.comfy('disk/Comfy-Desktop/ComfyUI-Installs/A/ComfyUI');
    home.folder('disk/Comfy-Desktop/ComfyUI-Shared/models/loras');
    home.file(`${home.appData}/comfyui-desktop-2/settings.json`, JSON.stringify({ modelsDirs: [models, 7] }));
    const installs = [{ installPath: home.path('disk/Comfy-Desktop/ComfyUI-Installs/A') }, { name: 'cloud' }, null];
    home.file(`${home.desktopData}/installations.json`, JSON.stringify(installs));
    home.file(`${home.desktopData}/shared_model_paths.yaml`, `'comfy.desktop_0':\n  base_path: '${models}'\n  'loras': 'loras/'\n`);
    expect(only(home).lorasFolders.map(({ path, source }) => [path, source])).toEqual([
      [join(models, 'loras'), 'models'],
      [home.path('disk/Comfy-Desktop/ComfyUI-Shared/models/loras'), 'models'],
      [join(own, 'models', 'loras'), 'models'],
    ]);
  });

  test.each(['pinokio/api/comfy.git/app', 'pinokio/api/comfyui'])('Pinokio in %s', (place) => {
    const home = freshHome();
    const folder = home.comfy(place);
    expect(only(home)).toMatchObject({ kind: 'pinokio', root: folder, lorasFolders: [loras(folder)] });
  });

  test('Pinokio whose settings name another home', () => {
    const home = freshHome();
    const folder = home.comfy('disk/p/api/comfy.git/app');
    home.file(`${home.appData}/Pinokio/config.json`, JSON.stringify({ home: home.path('disk/p') }));
    expect(only(home)).toMatchObject({ kind: 'pinokio', root: folder });
  });

  test.each(['Data', 'library.json', 'default'])('Stability Matrix, %s', (where) => {
    const home = freshHome();
    const data = {
      Data: 'Downloads/StabilityMatrix-win-x64/Data',
      'library.json': 'disk/sm',
      default: `${home.appData}/StabilityMatrix`,
    }[where]!;
    if (where === 'library.json') {
      home.file(`${home.appData}/StabilityMatrix/library.json`, `\uFEFF${JSON.stringify({ LibraryPath: home.path(data) })}`);
    }
    home.folder(`${data}/Models/Lora`);
    const own = home.comfy(`${data}/Packages/ComfyUI`);
    const folder = home.path(data);
    const shared = { ...loras(folder), path: join(folder, 'Models', 'Lora') };
    expect(only(home)).toEqual({ kind: 'stability-matrix', root: folder, lorasFolders: [shared, loras(own, false)], notes: [] });
  });

  test('all at once, each once', () => {
    const home = freshHome();
    home.comfy('ComfyUI');
    home.comfy('Downloads/ComfyUI_windows_portable/ComfyUI');
    home.folder('Documents/ComfyUI/models');
    home.folder('ComfyUI-Shared/models/loras');
    home.comfy('pinokio/api/comfy.git/app');
    home.folder('StabilityMatrix/Data/Models/Lora');
    const found = home.find({ roots: [home.path('ComfyUI')] });
    expect(found.map(({ kind }) => kind).sort()).toEqual([
      'desktop', 'desktop-new', 'named', 'pinokio', 'portable', 'stability-matrix',
    ]); // prettier-ignore
    expect(found[0]).toMatchObject({ kind: 'named', root: home.path('ComfyUI') });
  });

  test('settings that are no JSON, or of another shape, are as if they were not there', () => {
    const home = freshHome();
    home.file(`${home.appData}/ComfyUI/config.json`, '{"basePath": 7}');
    home.file(`${home.appData}/comfyui-desktop-2/settings.json`, '[1, 2');
    home.file(`${home.desktopData}/installations.json`, '{"a": null}');
    home.file(`${home.appData}/Pinokio/config.json`, 'null');
    home.folder(`${home.appData}/StabilityMatrix/library.json`);
    expect(home.find()).toEqual([]);
  });
});

describe('links, rights and bounds', () => {
  const freshHome = (): FakeHome => new FakeHome(root, 'linux');

  test('two ways to one install are one', () => {
    const home = freshHome();
    const folder = home.comfy('data/x');
    symlinkSync(folder, home.path('ComfyUI'), 'junction');
    symlinkSync(folder, home.path('comfyui-again'), 'junction');
    expect(home.find({ roots: [folder] })).toMatchObject([{ kind: 'named', root: folder }]);
  });

  test('a loras folder that is a link is listed once, by its conventional name', () => {
    const home = freshHome();
    const folder = home.comfy('ComfyUI');
    const disk = home.folder('disk/loras');
    home.file('ComfyUI/extra_model_paths.yaml', `a:\n  loras: ${disk}\n`);
    const models = join(folder, 'models');
    const linked = freshHome();
    mkdirSync(linked.path('ComfyUI/models'), { recursive: true });
    linked.file('ComfyUI/main.py');
    linked.file('ComfyUI/folder_paths.py');
    symlinkSync(disk, linked.path('ComfyUI/models/loras'), 'junction');
    linked.file('ComfyUI/extra_model_paths.yaml', `a:\n  is_default: true\n  loras: ${disk}\n`);
    expect(home.find()[0]?.lorasFolders.map(({ path }) => path)).toEqual([join(models, 'loras'), disk]);
    expect(linked.find()[0]?.lorasFolders).toMatchObject([{ path: linked.path('ComfyUI/models/loras'), source: 'models' }]);
  });

  test('a loop of links ends', () => {
    const home = freshHome();
    symlinkSync(home.path('comfy-b'), home.path('comfy-a'));
    symlinkSync(home.path('comfy-a'), home.path('comfy-b'));
    symlinkSync(home.home, home.path('ComfyUI'), 'junction');
    expect(home.find()).toEqual([]);
  });

  test('a loras folder that is yet to be made is listed; a link to nowhere is not writable', () => {
    const home = freshHome();
    home.file('ComfyUI/main.py');
    home.file('ComfyUI/folder_paths.py');
    home.folder('ComfyUI/models');
    expect(home.find()[0]?.lorasFolders).toMatchObject([{ writable: true }]);
    symlinkSync(home.path('gone'), home.path('ComfyUI/models/loras'));
    expect(home.find()[0]?.lorasFolders).toMatchObject([{ writable: false }]);
  });

  test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')('what can not be read is not there', () => {
    const home = freshHome();
    home.comfy('ComfyUI');
    home.comfy('comfy-locked');
    chmodSync(home.path('comfy-locked'), 0o000);
    chmodSync(home.path('ComfyUI/models/loras'), 0o500);
    expect(home.find()).toMatchObject([{ root: home.path('ComfyUI'), lorasFolders: [{ writable: false }] }]);
    chmodSync(home.path('comfy-locked'), 0o700);
  });

  test('a home that is a file, or nowhere', () => {
    const home = freshHome();
    expect(home.find({ home: home.file('file') })).toEqual([]);
    expect(home.find({ home: home.path('nowhere'), roots: [home.path('nowhere'), home.path('file')] })).toEqual([]);
  });

  test('a few of very many are looked at', () => {
    const home = freshHome();
    for (let i = 0; i < 40; i++) home.comfy(`comfy-${String(i).padStart(2, '0')}`);
    expect(home.find()).toHaveLength(30);
  });
});

describe('a folder that the user names', () => {
  const home = new FakeHome(root, 'linux');
  const comfy = home.comfy('x/ComfyUI_windows_portable/ComfyUI');
  const expected = join(comfy, 'models', 'loras');
  const named = (path: string) => resolveNamed(home.path(path), { home: home.home, env: {} });

  test.each([
    ['the folder of ComfyUI', 'x/ComfyUI_windows_portable/ComfyUI'],
    ['the one around it', 'x/ComfyUI_windows_portable'],
    ['what the archive unpacks to', 'x'],
    ['models', 'x/ComfyUI_windows_portable/ComfyUI/models'],
    ['loras itself', 'x/ComfyUI_windows_portable/ComfyUI/models/loras'],
    ['a path with dots', 'x/../x/ComfyUI_windows_portable/.'],
  ])('%s', (_, path) => {
    const { kind, lorasFolders } = named(path);
    expect(kind).toBe('named');
    expect(lorasFolders).toEqual([{ path: expected, isDefault: true, source: 'models', writable: true }]);
  });

  test('Stability Matrix, the new desktop app, an app of Pinokio, a folder of its own', () => {
    home.folder('sm/Data/Models/Lora');
    home.folder('shared/ComfyUI-Shared/models/loras');
    home.comfy('api/comfy.git/app');
    home.folder('my loras');
    home.folder('other/models/loras');
    const paths = ['sm', 'sm/Data', 'sm/Data/Models', 'shared', 'api/comfy.git', 'my loras', 'other/models'];
    expect(paths.map((path) => named(path).lorasFolders[0]?.path)).toEqual(
      [
        'sm/Data/Models/Lora',
        'sm/Data/Models/Lora',
        'sm/Data/Models/Lora',
        'shared/ComfyUI-Shared/models/loras',
        'api/comfy.git/app/models/loras',
        'my loras',
        'other/models/loras',
      ].map((path) => home.path(path)),
    );
  });

  test('anything else is refused, with what was expected', () => {
    home.folder('Pictures');
    for (const path of ['Pictures', basename(home.file('a.txt'))]) {
      expectRefusal(thrownBy(() => named(path)), 'COMFYUI_NOT_FOUND', home.path(path), /main\.py and models .* loras folder/); // prettier-ignore
    }
    expectRefusal(
      thrownBy(() => named('nowhere')),
      'FILE_NOT_FOUND',
      home.path('nowhere'),
      /no such file or folder/,
    );
  });

  test('its yaml counts', () => {
    const extra = home.folder('extra');
    writeFileSync(join(comfy, 'extra_model_paths.yaml'), `a:\n  loras: ${extra}\n`);
    expect(named('x').lorasFolders.map(({ path }) => path)).toEqual([expected, extra]);
    writeFileSync(join(comfy, 'extra_model_paths.yaml'), 'a: [');
    expect(named('x').notes).toHaveLength(1);
  });
});

test('the real machine can be searched', () => {
  const empty = mkdtempSync(join(root, 'empty-'));
  expect(new FakeHome(empty, 'linux').find({ platform: process.platform })).toEqual([]);
});
