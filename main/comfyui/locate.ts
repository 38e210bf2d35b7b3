import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { statSync } from 'node:fs';
import type { InstallKind } from '../contract/comfyui.ts';
import { fileError, I2lError } from '../contract/errors.ts';
import { note, type Note } from '../contract/notes.ts';
import { readExtraPaths } from './extra-paths.ts';
import { isFolder, isWritable, realPath, type Surroundings } from './folders.ts';
import { isComfyRoot, place, stabilityMatrixPlace, systemFolders, wellKnownPlaces, type Place } from './places.ts';

export interface LorasFolder {
  readonly path: string;
  /** The first that ComfyUI looks into; one of an install's folders is. */
  readonly isDefault: boolean;
  readonly source: 'models' | 'extra_model_paths.yaml';
  readonly writable: boolean;
}

export interface ComfyInstall {
  readonly kind: InstallKind;
  readonly root: string;
  /** In the order in which ComfyUI searches them; at least one. */
  readonly lorasFolders: readonly LorasFolder[];
  /** What could not be used. */
  readonly notes: readonly Note[];
}

export interface SearchOptions extends Partial<Surroundings> {
  /** Folders that the user named; they come first, as kind 'named'. */
  readonly roots?: readonly string[];
  /** Where programs of the whole machine lie. */
  readonly system?: readonly string[];
}

/**
 * ComfyUI installs on this machine: at the places where its installers, clones, Pinokio and Stability
 * Matrix put them, and in the folders that the user named. It looks at names one or two levels deep, never
 * through a disk, and whatever it can't read is not there.
 */
export function findInstalls(options: SearchOptions = {}): ComfyInstall[] {
  const surroundings = surroundingsOf(options);
  const named = (options.roots ?? []).map((folder) => namedPlace(resolve(folder))).filter((found) => found !== undefined);
  const known = wellKnownPlaces(surroundings, options.system ?? systemFolders(surroundings));
  const installs = new Map<string, ComfyInstall>();
  for (const candidate of [...named, ...known]) {
    const key = realPath(candidate.root);
    const install = installs.has(key) ? undefined : openPlace(candidate, surroundings);
    if (install) installs.set(key, install);
  }
  return [...installs.values()];
}

/**
 * What the user may mean by a folder: ComfyUI's own, the one that the portable unpacks to, models, the loras
 * folder itself, or the folder of Stability Matrix, of the desktop app, of an app of Pinokio.
 * @throws I2lError COMFYUI_NOT_FOUND that says what was expected; FILE_NOT_FOUND, FILE_UNREADABLE
 */
export function resolveNamed(folder: string, options: Partial<Surroundings> = {}): ComfyInstall {
  const path = resolve(folder);
  try {
    statSync(path);
  } catch (error) {
    throw fileError(path, 'read', error);
  }
  const found = namedPlace(path);
  const install = found && openPlace(found, surroundingsOf(options));
  if (!install) {
    throw new I2lError(
      'COMFYUI_NOT_FOUND',
      `${path}: no ComfyUI was found there; name the folder that has main.py and models in it, its models folder, or its loras folder.`,
      { file: path },
    );
  }
  return install;
}

function surroundingsOf({ home, env, platform }: Partial<Surroundings>): Surroundings {
  return { home: home ?? homedir(), env: env ?? process.env, platform: platform ?? process.platform };
}

function namedPlace(folder: string): Place | undefined {
  const inner = ['', 'ComfyUI', join('ComfyUI_windows_portable', 'ComfyUI'), 'app', 'ComfyUI-Shared'];
  const root = inner.map((name) => join(folder, name)).find((candidate) => isComfyRoot(candidate) || hasLoras(candidate));
  if (root !== undefined) return place('named', root);
  const data = [folder, join(folder, 'Data')].find((candidate) => isFolder(join(candidate, 'Models', 'Lora')));
  if (data !== undefined) return { ...stabilityMatrixPlace(data), kind: 'named' };
  return isFolder(folder) ? modelsPlace(folder) : undefined;
}

function hasLoras(folder: string): boolean {
  return isFolder(join(folder, 'models', 'loras'));
}

/** The models folder of an install, or its loras folder, or any that is called so. */
function modelsPlace(folder: string): Place | undefined {
  const parent = dirname(folder);
  if (basename(folder).toLowerCase() === 'models' && isComfyRoot(parent)) return place('named', parent);
  const loras = ['loras', 'Lora'].map((name) => join(folder, name)).find(isFolder);
  const chosen = loras ?? (/lora|lycoris/i.test(basename(folder)) ? folder : undefined);
  return chosen === undefined ? undefined : { kind: 'named', root: folder, loras: [chosen], roots: [], yamls: [] };
}

interface Found extends Pick<LorasFolder, 'path' | 'source'> {
  readonly real: string;
}

/** Folders in ComfyUI's order: conventional ones, the yaml's after them, but those of an is_default section before. */
function openPlace({ kind, root, loras, roots, yamls }: Place, surroundings: Surroundings): ComfyInstall | undefined {
  const folders = new Map<string, Found>();
  const notes: Note[] = [];
  for (const path of [...loras, ...roots.map((folder) => join(folder, 'models', 'loras'))]) {
    const real = realPath(path);
    // ComfyUI makes its loras folder at its first start; models without a parent is a guess that failed.
    if (isFolder(dirname(path)) && !folders.has(real)) folders.set(real, { path, real, source: 'models' });
  }
  let order = [...folders.values()];
  for (const yaml of [...yamls, ...roots.map((folder) => join(folder, 'extra_model_paths.yaml'))]) {
    const extra = readExtraPaths(yaml, surroundings);
    notes.push(...extra.notes);
    for (const { path, isDefault } of extra.folders) {
      if (!isFolder(path)) {
        notes.push(folderMissing(yaml, path));
        continue;
      }
      const real = realPath(path);
      const known = order.find((folder) => folder.real === real);
      const folder: Found = known ?? { path, real, source: 'extra_model_paths.yaml' };
      if (isDefault) order = [folder, ...order.filter((other) => other !== known)];
      else if (!known) order.push(folder);
    }
  }
  if (order.length === 0) return undefined;
  const lorasFolders = order.map(({ path, source }, at) => ({ path, isDefault: at === 0, source, writable: isWritable(path) }));
  return { kind, root, lorasFolders, notes };
}

function folderMissing(file: string, folder: string): Note {
  return note('COMFYUI_FOLDER_MISSING', `${file}: ${folder} is not there, so it is not listed.`, { file, folder });
}
