import { Arch, build, Platform, type Configuration } from 'electron-builder';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeIcons } from './make-icons.ts';
import { ICONS_FOLDER, packaging } from './packaging.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

export interface PackOptions {
  /** Electron unpacked, or its zip; else it is fetched. */
  readonly electron?: string | undefined;
  /** A folder with the app in place of installers. */
  readonly unpacked?: boolean;
  /** Else dist/. */
  readonly output?: string;
}

/**
 * Builds the app and packages it for this machine's system.
 * @returns the packages' paths
 * @throws Error that says in a sentence what is missing
 */
export async function pack({ electron, unpacked = false, output }: PackOptions): Promise<string[]> {
  const arch = archOfThisMachine();
  const { name } = Platform.current();
  buildSources();
  await makeIcons(join(ROOT, ICONS_FOLDER));
  const config: Configuration = {
    ...packaging,
    ...(electron ? { electronDist: electron } : {}),
    ...(output ? { directories: { ...packaging.directories, output } } : {}),
  };
  return build({
    projectDir: ROOT,
    config,
    targets: Platform.current().createTarget(unpacked ? 'dir' : targetsOf(name), arch),
    publish: 'never',
  });
}

/** The native modules that npm installed are this machine's: another's package is made there. */
function archOfThisMachine(): Arch {
  const { platform, arch } = process;
  const binary = join(ROOT, `node_modules/onnxruntime-node/bin/napi-v6/${platform}/${arch}`);
  if (!existsSync(binary)) throw new Error(`There is no package for ${platform}-${arch}: onnxruntime-node has no binary for it.`);
  return arch === 'arm64' ? Arch.arm64 : Arch.x64;
}

function buildSources(): void {
  const args = ['node_modules/electron-vite/bin/electron-vite.js', 'build', '--logLevel', 'warn'];
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) throw new Error('The app was not packaged, since it could not be built.');
}

/** A .deb must name a homepage; until package.json has one, it is left out and that is said. */
function targetsOf(system: string): string[] {
  const own = { windows: packaging.win, mac: packaging.mac, linux: packaging.linux }[system];
  const names = [own?.target ?? []].flat().map((target) => (typeof target === 'string' ? target : target.target));
  const { homepage } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { homepage?: string };
  if (homepage !== undefined || !names.includes('deb')) return names;
  console.error('No .deb is made: package.json names no "homepage", which one must have.');
  return names.filter((name) => name !== 'deb');
}
