import { isAbsolute, join, resolve } from 'node:path';
import type { ModelSource } from '../contract/models.ts';
import type { Surroundings } from './surroundings.ts';

/** A folder in which models may lie, and whose it is. */
export interface ModelPlace {
  readonly folder: string;
  readonly source: ModelSource;
}

export interface KnownFolders {
  /** Where the app puts its own downloads. */
  readonly app: string;
  /** Folders that the user named. */
  readonly named?: readonly string[];
  /** ComfyUI's models folders. */
  readonly comfyui?: readonly string[];
  /** Of a program that is run from its own folder. */
  readonly current?: string | undefined;
}

/** Folders in which people put programs. */
const PARENTS = ['', 'Documents', 'Projects', 'projects', 'src', 'code', 'git', 'repos', 'dev', 'AI', 'ai'];

/**
 * Every place where this machine may have models, the ones to prefer first: the user's word, the app's own
 * downloads, then the caches and folders of other programs. Whether they are there is not looked at.
 */
export function modelPlaces(surroundings: Surroundings, { app, named = [], comfyui = [], current }: KnownFolders): ModelPlace[] {
  const places = [
    ...named.map((folder) => ({ folder: resolve(folder), source: 'named' as const })),
    { folder: app, source: 'app' as const },
    ...huggingFaceCaches(surroundings).map((folder) => ({ folder, source: 'huggingface' as const })),
    ...modelScopeCaches(surroundings).map((folder) => ({ folder, source: 'modelscope' as const })),
    ...diffSynthFolders(surroundings, current).map((folder) => ({ folder, source: 'diffsynth' as const })),
    ...comfyui.map((folder) => ({ folder, source: 'comfyui' as const })),
  ];
  const seen = new Set<string>();
  return places.filter(({ folder }) => !seen.has(folder) && seen.add(folder));
}

/** https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables; ~/.cache on Windows too. */
function huggingFaceCaches({ home, env }: Surroundings): string[] {
  const told = (name: string): string | undefined => expanded(env[name], home, env);
  const caches = told('XDG_CACHE_HOME') ?? join(home, '.cache');
  const hubHome = told('HF_HOME') ?? join(caches, 'huggingface');
  const cache = told('HF_HUB_CACHE') ?? told('HUGGINGFACE_HUB_CACHE') ?? join(hubHome, 'hub');
  return [cache, join(home, '.cache', 'huggingface', 'hub')];
}

/** Its layouts by age: hub/ORG/REPO, hub/models/ORG/REPO, models/ORG--REPO/snapshots/REVISION; a walk finds them all. */
function modelScopeCaches({ home, env }: Surroundings): string[] {
  const told = expanded(env['MODELSCOPE_CACHE'], home, env);
  return [...(told === undefined ? [] : [told]), join(home, '.cache', 'modelscope')];
}

/** DiffSynth-Studio downloads to models/ORG/REPO below the folder in which it is run. */
function diffSynthFolders({ home, env }: Surroundings, current: string | undefined): string[] {
  const told = expanded(env['DIFFSYNTH_MODEL_BASE_PATH'], home, env);
  const clones = PARENTS.map((parent) => join(home, parent, 'DiffSynth-Studio', 'models'));
  return [...(told === undefined ? [] : [told]), ...(current === undefined ? [] : [join(current, 'models')]), ...clones];
}

/** ~ and $NAME as Python's expanduser and expandvars take them; nothing for a relative path, which is relative to who knows what. */
function expanded(text: string | undefined, home: string, env: Surroundings['env']): string | undefined {
  if (!text) return undefined;
  const path = text
    .replace(/^~(?=$|[/\\])/, () => home)
    .replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, bare?: string, braced?: string) => env[bare ?? braced ?? ''] ?? whole);
  return isAbsolute(path) ? path : undefined;
}
