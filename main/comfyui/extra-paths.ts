import { readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, normalize, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { fileError, systemCode } from '../contract/errors.ts';
import { note, type Note } from '../contract/notes.ts';
import { MOST_SETTINGS_BYTES, type Surroundings } from './folders.ts';

export interface ExtraFolder {
  readonly path: string;
  /** ComfyUI puts it before the folders it has so far. */
  readonly isDefault: boolean;
}

export interface ExtraPaths {
  /** In the order in which ComfyUI adds them. */
  readonly folders: readonly ExtraFolder[];
  /** What could not be used. */
  readonly notes: readonly Note[];
}

/**
 * The loras folders of an extra_model_paths.yaml, read as ComfyUI's utils/extra_config.py reads it:
 * sections; base_path with ~ and variables, relative to the file; several paths on several lines, which are
 * joined to the base but not expanded. A file that is missing has none; one that is malformed gives a note.
 */
export function readExtraPaths(file: string, surroundings: Surroundings): ExtraPaths {
  let text: string;
  try {
    const kind = statSync(file);
    if (!kind.isFile()) return { folders: [], notes: [] };
    if (kind.size > MOST_SETTINGS_BYTES) {
      const message = `${file}: it is too large, so its folders are not listed.`;
      return { folders: [], notes: [note('COMFYUI_PATHS_TOO_LARGE', message, { file, bytes: kind.size })] };
    }
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return { folders: [], notes: [] };
    const unreadable = fileError(file, 'read', error);
    const message = `${unreadable.message} Its folders are not listed.`;
    return { folders: [], notes: [note('COMFYUI_PATHS_UNREADABLE', message, { file }, unreadable)] };
  }
  return parseExtraPaths(text, file, surroundings);
}

function parseExtraPaths(text: string, file: string, surroundings: Surroundings): ExtraPaths {
  const sections = parseYaml(text);
  if (sections === undefined) {
    const message = `${file}: it is not valid YAML, so its folders are not listed.`;
    return { folders: [], notes: [note('COMFYUI_PATHS_NO_YAML', message, { file })] };
  }
  const folders: ExtraFolder[] = [];
  const notes: Note[] = [];
  for (const [name, section] of Object.entries(sections)) {
    if (!isRecord(section) || section['loras'] === undefined) continue;
    const { loras, base_path: base } = section;
    if (typeof loras !== 'string' || !(base === undefined || typeof base === 'string')) {
      const message = `${file}: loras and base_path of "${name}" need to be text; the section is not used.`;
      notes.push(note('COMFYUI_SECTION_LEFT_OUT', message, { file, section: name }));
      continue;
    }
    const folder = base === undefined ? dirname(file) : resolve(dirname(file), expand(base, surroundings));
    // Python's idea of truth: text counts, whatever it says.
    const isDefault = Boolean(section['is_default']);
    for (const line of loras.split('\n')) {
      if (line.length > 0) folders.push({ path: normalised(isAbsolute(line) ? line : join(folder, line)), isDefault });
    }
  }
  return { folders, notes };
}

/** YAML 1.1, as PyYAML speaks it: yes and on are true; the last of two equal keys counts. */
function parseYaml(text: string): Record<string, unknown> | undefined {
  try {
    const document = parseDocument(text, { version: '1.1', uniqueKeys: false, logLevel: 'silent' });
    const value: unknown = document.errors.length > 0 ? undefined : document.toJS({ maxAliasCount: 100 });
    if (value === null) return {};
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** os.path.expandvars(os.path.expanduser(path)); an unknown variable stays as it is written. */
function expand(path: string, { home, env, platform }: Surroundings): string {
  const isWindows = platform === 'win32';
  const lookUp = (written: string, name: string): string => variable(env, name, isWindows) ?? written;
  const withHome = (isWindows ? /^~(?=$|[\\/])/ : /^~(?=$|\/)/).test(path) ? home + path.slice(1) : path;
  const withDollars = withHome.replace(/\$(?:(\w+)|\{([^}]*)\})/g, (written, bare?: string, braced?: string) =>
    lookUp(written, bare ?? braced ?? ''),
  );
  return isWindows ? withDollars.replace(/%([^%]+)%/g, (written, name: string) => lookUp(written, name)) : withDollars;
}

function variable(env: Surroundings['env'], name: string, anyCase: boolean): string | undefined {
  if (Object.hasOwn(env, name)) return env[name];
  if (!anyCase) return undefined;
  const key = Object.keys(env).find((other) => other.toUpperCase() === name.toUpperCase());
  return key === undefined ? undefined : env[key];
}

function normalised(path: string): string {
  return resolve(normalize(path));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
