import { basename, dirname, join, resolve } from 'node:path';
import type { InstallKind } from '../contract/comfyui.ts';
import { appData, isFile, isFolder, localAppData, readJson, readSettings, subfolders, type Surroundings } from './folders.ts';

/** Where ComfyUI and the programs that bring it along put themselves when nobody tells them otherwise. */

/** One install, before its folders are looked at. */
export interface Place {
  readonly kind: InstallKind;
  readonly root: string;
  /** Loras folders by convention. */
  readonly loras: readonly string[];
  /** Folders laid out as ComfyUI's own: models/loras and extra_model_paths.yaml. */
  readonly roots: readonly string[];
  /** Further files of the form of extra_model_paths.yaml. */
  readonly yamls: readonly string[];
}

/** How many ComfyUI-like names in one folder are looked at. */
const MOST_NAMES = 30;
const ANY = /^[^.]/;
/** Names like ComfyUI's; the new desktop app's two folders are looked into by their own step. */
const LIKE_COMFYUI = /comfy(?!ui-(?:installs|shared)$)/i;

/** Folders in which people put programs, and in them one level is looked at for names like ComfyUI's. */
const PARENTS = ['', 'Documents', 'Downloads', 'Desktop', 'Projects', 'projects', 'src', 'code', 'git', 'repos', 'dev', 'AI', 'ai'];

/** @param system where programs of the whole machine lie, such as /opt or C:\. */
export function wellKnownPlaces(surroundings: Surroundings, system: readonly string[]): Place[] {
  const parents = [...PARENTS.map((name) => join(surroundings.home, name)), ...system];
  const named = surroundings.env['COMFYUI_PATH'];
  return [
    ...oldDesktop(surroundings),
    ...newDesktop(surroundings, system),
    ...pinokio(surroundings, system),
    ...stabilityMatrix(surroundings, parents),
    ...(named ? comfyPlaces(resolve(named)) : []),
    ...parents.flatMap((parent) => subfolders(parent, LIKE_COMFYUI, MOST_NAMES)).flatMap(comfyPlaces),
  ];
}

export function systemFolders({ env, platform }: Surroundings): string[] {
  if (platform === 'win32') return [`${env['SystemDrive'] ?? 'C:'}\\`];
  return platform === 'darwin' ? ['/Applications'] : ['/opt', '/workspace'];
}

/** A clone of ComfyUI has its code beside its models; a folder of models alone could be anybody's. */
export function isComfyRoot(folder: string): boolean {
  const hasCode = isFile(join(folder, 'main.py')) && isFile(join(folder, 'folder_paths.py'));
  return isFolder(join(folder, 'models')) && (hasCode || isFolder(join(folder, 'comfy')));
}

/** The folder itself, or one or two levels into what an archive unpacks to. */
function comfyPlaces(folder: string): Place[] {
  if (isComfyRoot(folder)) return [place(isPortable(dirname(folder)) ? 'portable' : 'git', folder)];
  const outer = [folder, ...subfolders(folder, /^comfyui_windows_portable/i, MOST_NAMES)];
  return outer
    .map((candidate) => join(candidate, 'ComfyUI'))
    .filter(isComfyRoot)
    .map((root) => place(isPortable(dirname(root)) ? 'portable' : 'git', root));
}

/** Windows portable: named so, or with its own Python beside ComfyUI (spelled python_embeded). */
function isPortable(folder: string): boolean {
  return /windows_portable/i.test(basename(folder)) || subfolders(folder, /^python_embed/i, 1).length > 0;
}

/** Comfy Desktop before 2026: its settings name the folder that holds models. */
function oldDesktop(surroundings: Surroundings): Place[] {
  const settings = join(appData(surroundings), 'ComfyUI');
  const yamls = [join(settings, 'extra_models_config.yaml')];
  const basePath = readSettings(join(settings, 'config.json'))['basePath'];
  const documents = ['Documents', join('OneDrive', 'Documents')].map((name) => join(surroundings.home, name, 'ComfyUI'));
  // A clone that lies there is a clone.
  const bases = typeof basePath === 'string' ? [basePath] : documents.filter((folder) => !isComfyRoot(folder));
  return bases
    .filter((base) => isFolder(join(base, 'models')))
    .map((base) => ({ ...place('desktop', base), yamls: isFile(join(settings, 'config.json')) ? yamls : [] }));
}

/**
 * Comfy Desktop of 2026 (its code calls it comfyui-desktop-2): models shared by all of its installs, and the
 * installs' own. Settings and data lie together, but apart on Linux.
 */
function newDesktop(surroundings: Surroundings, system: readonly string[]): Place[] {
  const name = 'comfyui-desktop-2';
  const settings = join(appData(surroundings), name);
  const data = surroundings.platform === 'linux' ? join(localAppData(surroundings), name) : settings;
  const installs = textsOf(readJson(join(data, 'installations.json')), 'installPath');
  const parents = [join(localAppData(surroundings), 'Comfy-Desktop'), surroundings.home];
  const bases = [...parents, ...system.map((folder) => join(folder, 'Comfy-Desktop')), ...installs.map((p) => dirname(dirname(p)))];
  const shared = [...new Set(bases)].map((base) => join(base, 'ComfyUI-Shared')).filter(isFolder);
  const configured = texts(readSettings(join(settings, 'settings.json'))['modelsDirs']).filter(isFolder);
  const models = [...configured, ...shared.map((folder) => join(folder, 'models'))];
  const own = [...new Set(bases)].flatMap((base) => subfolders(join(base, 'ComfyUI-Installs'), ANY, MOST_NAMES));
  const roots = [...installs, ...own].flatMap((folder) => [folder, join(folder, 'ComfyUI')]).filter(isComfyRoot);
  const root = shared[0] ?? configured[0] ?? roots[0];
  if (root === undefined) return [];
  const loras = models.map((folder) => join(folder, 'loras'));
  return [{ kind: 'desktop-new', root, loras, roots, yamls: [join(data, 'shared_model_paths.yaml')] }];
}

function pinokio(surroundings: Surroundings, system: readonly string[]): Place[] {
  const home = readSettings(join(appData(surroundings), 'Pinokio', 'config.json'))['home'];
  const homes = [
    ...(typeof home === 'string' ? [home] : []),
    ...[surroundings.home, ...system].map((folder) => join(folder, 'pinokio')),
  ];
  return homes
    .flatMap((folder) => subfolders(join(folder, 'api'), ANY, MOST_NAMES))
    .flatMap((app) => [join(app, 'app'), app].filter(isComfyRoot).slice(0, 1))
    .map((root) => place('pinokio', root));
}

/** Its models are shared by all packages; a ComfyUI among them has its own folder as well. */
function stabilityMatrix(surroundings: Surroundings, parents: readonly string[]): Place[] {
  const settings = join(appData(surroundings), 'StabilityMatrix');
  const library = readSettings(join(settings, 'library.json'))['LibraryPath'];
  const programs = parents.flatMap((parent) => subfolders(parent, /^stability ?matrix/i, MOST_NAMES));
  return [...(typeof library === 'string' ? [library] : []), settings, ...programs]
    .flatMap((folder) => [folder, join(folder, 'Data')])
    .filter((data) => isFolder(join(data, 'Models', 'Lora')))
    .map(stabilityMatrixPlace);
}

export function stabilityMatrixPlace(data: string): Place {
  const roots = subfolders(join(data, 'Packages'), /comfy/i, MOST_NAMES).filter(isComfyRoot);
  return { kind: 'stability-matrix', root: data, loras: [join(data, 'Models', 'Lora')], roots, yamls: [] };
}

export function place(kind: InstallKind, root: string): Place {
  return { kind, root, loras: [], roots: [root], yamls: [] };
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').slice(0, MOST_NAMES) : [];
}

/** The text under `key` of every object in a list. */
function textsOf(list: unknown, key: string): string[] {
  const values: unknown[] = Array.isArray(list) ? list : [];
  return texts(values.map((item) => (typeof item === 'object' && item !== null ? Reflect.get(item, key) : undefined)));
}
