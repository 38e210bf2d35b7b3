import { accessSync, constants, lstatSync, opendirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Surroundings } from '../weights/surroundings.ts';

/** Looking at other programs' folders: whatever can't be read is taken as not there. */

export type { Surroundings };

/** A folder with more entries than this is not somebody's list of programs. */
const MOST_ENTRIES = 2000;
/** Settings files of other programs are a few kilobytes. */
export const MOST_SETTINGS_BYTES = 1_000_000;

export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

export function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Sub-folders whose name matches, sorted, at most `most`; symbolic links to folders count. */
export function subfolders(folder: string, pattern: RegExp, most: number): string[] {
  const found: string[] = [];
  try {
    const entries = opendirSync(folder);
    try {
      for (let read = 0; read < MOST_ENTRIES; read++) {
        const entry = entries.readSync();
        if (entry === null) break;
        if (pattern.test(entry.name)) found.push(join(folder, entry.name));
      }
    } finally {
      entries.closeSync();
    }
  } catch {
    // Not there, or not ours to read: what was found so far stands.
  }
  return found.sort().filter(isFolder).slice(0, most);
}

/** The object in a JSON settings file of another program; empty if there is none. */
export function readSettings(file: string): Readonly<Record<string, unknown>> {
  const value = readJson(file);
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

export function readJson(file: string): unknown {
  try {
    const { size } = statSync(file);
    if (!isFile(file) || size > MOST_SETTINGS_BYTES) return undefined;
    return JSON.parse(readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
  } catch {
    return undefined;
  }
}

/** Two paths are the same place if this says so. */
export function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path;
  }
}

/** Whether a new file could be made there, as far as permissions tell; for a folder yet to be made, in its nearest parent. */
export function isWritable(folder: string): boolean {
  try {
    if (!statSync(folder).isDirectory()) return false;
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    // A link to nowhere is no place to make a folder.
    const parent = dirname(folder);
    return parent !== folder && !isThere(folder) && isWritable(parent);
  }
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Where programs keep their settings. */
export function appData({ home, env, platform }: Surroundings): string {
  if (platform === 'win32') return env['APPDATA'] ?? join(home, 'AppData', 'Roaming');
  if (platform === 'darwin') return join(home, 'Library', 'Application Support');
  return env['XDG_CONFIG_HOME'] ?? join(home, '.config');
}

/** Where programs keep large or machine-bound data. */
export function localAppData({ home, env, platform }: Surroundings): string {
  if (platform === 'win32') return env['LOCALAPPDATA'] ?? join(home, 'AppData', 'Local');
  if (platform === 'darwin') return join(home, 'Library', 'Application Support');
  return env['XDG_DATA_HOME'] ?? join(home, '.local', 'share');
}
