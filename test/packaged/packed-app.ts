import { extractAll, listPackage } from '@electron/asar';
import { cpSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pack } from '../../build/pack.ts';

/** The place of the fuses in Electron's program, their version, how many, and each: 0, 1, or r for one that is gone. */
const FUSE_WIRE = Buffer.concat([Buffer.from('dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX'), Buffer.from([1, 9]), Buffer.from('101100011')]);

export interface PackedApp {
  readonly folder: string;
  /** What is in app.asar, as node_modules/x/y. */
  readonly files: readonly string[];
  /** What of it lies beside the archive. */
  readonly unpacked: readonly string[];
  /** app.asar and what is beside it in one folder, as Electron shows it to the app. */
  readonly app: string;
  readonly bytes: number;
}

/** Packs the app for this machine with a stand-in for Electron: a program that has fuses and nothing else. */
export async function packApp(folder: string): Promise<PackedApp> {
  const electron = join(folder, 'electron');
  mkdirSync(join(electron, 'locales'), { recursive: true });
  mkdirSync(join(electron, 'resources'));
  for (const language of ['en-US', 'zh-CN', 'fr']) writeFileSync(join(electron, 'locales', `${language}.pak`), '');
  writeFileSync(join(electron, 'electron'), Buffer.concat([Buffer.from('program'), FUSE_WIRE, Buffer.from('end')]));
  writeFileSync(join(electron, 'LICENSE'), "Electron's licence");
  await pack({ electron, unpacked: true, output: join(folder, 'packed') });
  const packed = join(folder, 'packed', 'linux-unpacked');
  const resources = join(packed, 'resources');
  const archive = join(resources, 'app.asar');
  const app = join(folder, 'app');
  extractAll(archive, app);
  cpSync(`${archive}.unpacked`, app, { recursive: true });
  return {
    folder: packed,
    files: listPackage(archive, { isPack: false })
      .map((path) => path.slice(1).replaceAll('\\', '/'))
      .filter((path) => statSync(join(app, path)).isFile()),
    unpacked: filesUnder(`${archive}.unpacked`),
    app,
    bytes: filesUnder(resources).reduce((sum, path) => sum + statSync(join(resources, path)).size, 0),
  };
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
}
