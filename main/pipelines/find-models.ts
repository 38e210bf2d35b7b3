import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { findInstalls, type ComfyInstall } from '../comfyui/locate.ts';
import { I2lError } from '../contract/errors.ts';
import type { FoundModel } from '../contract/models.ts';
import { scan, type Scan } from '../weights/discover.ts';
import { HeaderCache } from '../weights/header-cache.ts';
import { modelPlaces, type ModelPlace } from '../weights/model-places.ts';
import type { Surroundings } from '../weights/surroundings.ts';
import { identify } from './identify.ts';
import { VERSION } from './version.ts';

/** Where to look. */
export interface ModelFolders {
  readonly dataFolder: string;
  /** Where the app downloads to. */
  readonly modelsFolder: string;
  readonly named?: readonly string[];
  /** ComfyUI installs that are not found by themselves. */
  readonly comfyuiFolders?: readonly string[];
  /** Of a program that is run in its own folder. */
  readonly current?: string | undefined;
  readonly surroundings?: Partial<Surroundings>;
}

export interface FindOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onFound?: (model: FoundModel) => void;
}

/**
 * Looks for models everywhere on this machine: nothing is moved, copied or asked of a network. Headers that were
 * read before are not read again.
 * @throws I2lError CANCELLED
 */
export async function findModels(folders: ModelFolders, options: FindOptions = {}): Promise<Scan> {
  const cache = await HeaderCache.open(join(folders.dataFolder, 'cache', 'model-headers.json'), VERSION);
  const found = await scan({ places: placesOf(folders), identify, cache, ...options });
  try {
    await cache.save();
    return found;
  } catch (error) {
    // What was found is found; the next search takes longer.
    return { ...asPlain(found), troubles: [...found.troubles, I2lError.from(error)] };
  }
}

function asPlain({ models, others, troubles }: Scan): Scan {
  return { models, others, troubles };
}

function placesOf({ modelsFolder, named = [], comfyuiFolders = [], current, surroundings = {} }: ModelFolders): ModelPlace[] {
  const { home = homedir(), env = process.env, platform = process.platform } = surroundings;
  const installs = findInstalls({ home, env, platform, roots: comfyuiFolders });
  const comfyui = installs.flatMap(modelsFoldersOf);
  return modelPlaces({ home, env, platform }, { app: modelsFolder, named, comfyui, current });
}

/** Its models folder, and those that its extra_model_paths.yaml names, as far as their loras folders tell. */
function modelsFoldersOf({ root, lorasFolders }: ComfyInstall): string[] {
  const own = basename(root).toLowerCase() === 'models' ? root : join(root, 'models');
  return [own, ...lorasFolders.map(({ path }) => dirname(path))];
}
