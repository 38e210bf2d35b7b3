import { FileMatcher } from 'app-builder-lib/out/fileMatcher.js';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { makeIcons } from '../../build/make-icons.ts';
import { packaging } from '../../build/packaging.ts';
import { tempFolder } from '../unit/temp.ts';

/** Of what the installers are; what is in them is test/packaged's. */
const SYSTEMS = [
  ['win32', packaging.win],
  ['darwin', packaging.mac],
  ['linux', packaging.linux],
] as const;

interface Target {
  readonly target: string;
  readonly arch: string[];
}

const machines = SYSTEMS.flatMap(([os, options]) =>
  [...new Set((options?.target as Target[]).flatMap(({ arch }) => arch))].map((arch) => ({
    os,
    arch,
    files: options?.files as string[],
  })),
);

test('the targets', () => {
  const targets = SYSTEMS.map(([os, options]) => [os, (options?.target as Target[]).map(({ target, arch }) => [target, arch])]);
  expect(targets).toEqual([
    [
      'win32',
      [
        ['nsis', ['x64']],
        ['portable', ['x64']],
      ],
    ],
    ['darwin', [['dmg', ['arm64']]]],
    [
      'linux',
      [
        ['AppImage', ['x64', 'arm64']],
        ['deb', ['x64', 'arm64']],
      ],
    ],
  ]);
});

test.each(machines)('for $os-$arch there are native modules, and they alone are packed', ({ os, arch, files }) => {
  const optional = JSON.parse(readFileSync('node_modules/sharp/package.json', 'utf8')) as { optionalDependencies: object };
  const sharpBinaries = Object.keys(optional.optionalDependencies).map((name) => `node_modules/${name}/lib/binary.node`);
  const folders = ['node_modules/onnxruntime-node/bin', 'node_modules/better-sqlite3/prebuilds'];
  const paths = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name)),
  );
  const matcher = new FileMatcher('/app', '/to', (pattern) => pattern.replaceAll('${arch}', arch), ['**/*', ...files]);
  const isPacked = matcher.createFilter();
  const packed = [...paths, ...sharpBinaries].filter((path) => isPacked(`/app/${path}`, { isDirectory: () => false } as never));
  const own = (path: string): boolean =>
    path.includes(`/${os}/${arch}/`) || path.includes(`/${os}-${arch}`) || path.includes(`-${os}-${arch}/`);
  expect(packed.filter((path) => !own(path))).toEqual([]);
  for (const part of ['onnxruntime_binding.node', `prebuilds/${os}-${arch}.node`, `@img/sharp-${os}-${arch}/`]) {
    expect(
      packed.filter((path) => path.includes(part)),
      part,
    ).toHaveLength(1);
  }
  // On Windows libvips is in sharp's own package.
  expect(packed.some((path) => path.includes(`libvips-${os}-${arch}`))).toBe(os !== 'win32');
});

describe('the settings', () => {
  test('fuses: no plain Node, no code but the archive', () => {
    expect(packaging.electronFuses).toEqual({
      runAsNode: false,
      enableNodeOptionsEnvironmentVariable: false,
      enableNodeCliInspectArguments: false,
      onlyLoadAppFromAsar: true,
      enableEmbeddedAsarIntegrityValidation: true,
      enableCookieEncryption: true,
      grantFileProtocolExtraPrivileges: false,
      loadBrowserProcessSpecificV8Snapshot: false,
    });
  });

  test('native code lies beside the archive, as npm brought it', () => {
    expect(packaging.asar).toEqual({ smartUnpack: false });
    expect(packaging.asarUnpack).toEqual(['**/node_modules/{onnxruntime-node/bin,better-sqlite3/prebuilds,@img/sharp-*}/**']);
    expect(packaging.npmRebuild).toBe(false);
  });

  test('nothing is published or updates itself', () => {
    expect(packaging.publish).toBeNull();
    expect(packaging.nsis?.differentialPackage).toBe(false);
    expect(packaging.dmg?.writeUpdateInfo).toBe(false);
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { dependencies: object };
    expect(Object.keys(dependencies)).not.toContain('electron-updater');
  });

  test('Windows: for the user alone, without an administrator; the data stays', () => {
    expect(packaging.nsis).toMatchObject({
      oneClick: true,
      perMachine: false,
      packElevateHelper: false,
      deleteAppDataOnUninstall: false,
    });
  });

  test('the id of the app is the one that the running app gives', () => {
    expect(readFileSync('main/index.ts', 'utf8')).toContain(`'${packaging.appId}'`);
  });

  test('macOS: hardened, and allowed to compile, which V8 needs, and nothing more', () => {
    const { hardenedRuntime, category, entitlements = '', entitlementsInherit } = packaging.mac ?? {};
    expect([hardenedRuntime, category]).toEqual([true, 'public.app-category.graphics-design']);
    expect(entitlementsInherit).toBe(entitlements);
    const keys = [...readFileSync(entitlements as string, 'utf8').matchAll(/<key>(.*?)<\/key>/g)].map(([, key]) => key);
    expect(keys).toEqual(['com.apple.security.cs.allow-jit']);
  });

  test('Linux: a graphics program; it opens no files by their type, and says so', () => {
    const { category, executableName, desktop, mimeTypes } = packaging.linux ?? {};
    expect([category, executableName]).toEqual(['Graphics', 'i2l-studio']);
    expect(desktop?.entry).toMatchObject({ StartupWMClass: 'i2l-studio' });
    expect(mimeTypes).toBeUndefined();
    expect(packaging.fileAssociations).toBeUndefined();
  });
});

test('the icons are what each system reads', async () => {
  const folder = tempFolder();
  await makeIcons(folder);
  expect(existsSync(join(folder, 'sizes/512x512.png'))).toBe(true);
  const ico = readFileSync(join(folder, 'icon.ico'));
  expect([ico.readUInt16LE(2), ico.readUInt16LE(4)]).toEqual([1, 7]);
  const last = ico.subarray(6 + 16 * 6);
  const image = ico.subarray(last.readUInt32LE(12), last.readUInt32LE(12) + last.readUInt32LE(8));
  expect(await sharp(image).metadata()).toMatchObject({ format: 'png', width: 256, height: 256, hasAlpha: true });
  const icns = readFileSync(join(folder, 'icon.icns'));
  expect(icns.toString('latin1', 0, 4)).toBe('icns');
  expect(icns.readUInt32BE(4)).toBe(icns.length);
  const types: string[] = [];
  for (let at = 8; at < icns.length; at += icns.readUInt32BE(at + 4)) types.push(icns.toString('latin1', at, at + 4));
  expect(types).toEqual(['ic11', 'ic12', 'ic07', 'ic13', 'ic08', 'ic14', 'ic09', 'ic10']);
});
