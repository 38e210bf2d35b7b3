import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileError, I2lError } from '../contract/errors.ts';
import type { FoundModel, ModelSource } from '../contract/models.ts';
import { DTYPES } from '../contract/tensor.ts';
import { CATALOGUE } from './catalogue.ts';
import { shardNames } from './checkpoint.ts';
import { HeaderCache, type CachedHeader } from './header-cache.ts';
import type { Identify, Identity } from './identity.ts';
import type { ModelPlace } from './model-places.ts';
import { walk, type WalkedFolder, type WalkLimits, type WeightFile } from './walk.ts';

export interface ScanOptions {
  readonly places: readonly ModelPlace[];
  readonly identify: Identify;
  readonly cache?: HeaderCache;
  readonly limits?: WalkLimits;
  readonly signal?: AbortSignal | undefined;
  readonly onFound?: (model: FoundModel) => void;
}

export interface Scan {
  /** The places' order, each file of the disk once. */
  readonly models: readonly FoundModel[];
  /** Safetensors files that are none of ours. */
  readonly others: number;
  /** What could not be looked into or read. */
  readonly troubles: readonly I2lError[];
}

/** A machine with more broken files than this has been told enough. */
const MOST_TROUBLES = 100;

/**
 * Looks for models in all places, by their headers alone: a file of 16 GB costs its header, once, and is used
 * where it lies.
 * @throws I2lError CANCELLED
 */
export async function scan(options: ScanOptions): Promise<Scan> {
  const search = new Search(options);
  for (const place of options.places) await search.look(place);
  return search;
}

class Search implements Scan {
  readonly models: FoundModel[] = [];
  readonly troubles: I2lError[] = [];
  others = 0;
  readonly #options: ScanOptions;
  readonly #cache: HeaderCache;
  readonly #folders = new Set<string>();
  readonly #files = new Set<string>();

  constructor(options: ScanOptions) {
    this.#options = options;
    this.#cache = options.cache ?? HeaderCache.inMemory();
  }

  async look({ folder, source }: ModelPlace): Promise<void> {
    const { limits, signal } = this.#options;
    if (source === 'named') await this.#checkNamed(folder);
    const onTrouble = (error: I2lError): void => this.#trouble(error);
    for await (const walked of walk(folder, { seen: this.#folders, signal, onTrouble, ...(limits ? { limits } : {}) })) {
      for (const candidate of candidatesIn(walked)) {
        if (signal?.aborted) throw new I2lError('CANCELLED', 'Cancelled.');
        await this.#take(candidate, walked, source);
      }
    }
  }

  async #checkNamed(folder: string): Promise<void> {
    await stat(folder).catch((error: unknown) => this.#trouble(fileError(folder, 'read', error)));
  }

  async #take({ path, files }: Candidate, { folder }: WalkedFolder, source: ModelSource): Promise<void> {
    if (files.every(({ node }) => this.#files.has(node))) return;
    for (const { node } of files) this.#files.add(node);
    const { identity, refused } = await this.#header(path, await stampOf(folder, files));
    if (refused !== undefined) this.#trouble(new I2lError('FILE_UNREADABLE', refused, { file: path }));
    if (!identity) return;
    const model = foundModel(
      identity,
      files.map((file) => file.path),
      source,
    );
    if (!model) return void this.others++;
    this.models.push(model);
    this.#options.onFound?.(model);
  }

  async #header(path: string, stamp: string): Promise<CachedHeader> {
    const known = this.#cache.get(path, stamp);
    if (known) return known;
    // Reading a header blocks for milliseconds; others get their turn between two.
    await nextTurn();
    const entry = read(path, stamp, this.#options.identify);
    this.#cache.set(path, entry);
    return entry;
  }

  #trouble(error: I2lError): void {
    if (this.troubles.length < MOST_TROUBLES) this.troubles.push(error);
  }
}

function read(path: string, stamp: string, identify: Identify): CachedHeader {
  try {
    return { stamp, identity: identify(path) };
  } catch (error) {
    const known = I2lError.from(error);
    if (known.code === 'INTERNAL') throw known;
    return { stamp, refused: known.message };
  }
}

/** What is opened as one model, and the files that it consists of. */
interface Candidate {
  readonly path: string;
  readonly files: readonly WeightFile[];
}

/** An index with the shards beside it, shards without an index, and files that stand alone. */
function candidatesIn({ files }: WalkedFolder): Candidate[] {
  const indices = files.filter(({ name }) => name.endsWith('.index.json'));
  const plain = files.filter(({ name }) => !name.endsWith('.index.json'));
  const used = new Set<WeightFile>();
  const take = (own: readonly WeightFile[]): readonly WeightFile[] => own.map((file) => (used.add(file), file));
  const indexed = indices.map((index) => {
    const stem = index.name.slice(0, -'.safetensors.index.json'.length);
    return { path: index.path, files: [index, ...take(plain.filter(({ name }) => shardStem(name) === stem))] };
  });
  const sharded = plain
    .filter((file) => shardNames(file.name)?.[0] === file.name && !used.has(file))
    .map((first) => {
      const names = new Set(shardNames(first.name));
      return { path: first.path, files: take(plain.filter(({ name }) => names.has(name))) };
    });
  const alone = plain.filter((file) => !used.has(file)).map((file) => ({ path: file.path, files: [file] }));
  return [...indexed, ...sharded, ...alone];
}

function shardStem(name: string): string | undefined {
  return shardNames(name) && name.replace(/-\d{5}-of-\d{5}\.safetensors$/, '');
}

/** Changes with every file that an identity depends on. */
async function stampOf(folder: string, files: readonly WeightFile[]): Promise<string> {
  const own = files.map(({ name, size, modifiedMs }) => `${name}:${size}:${modifiedMs}`);
  const config = await stat(join(folder, 'config.json')).catch(() => undefined);
  return [...own, config ? `config:${config.size}:${config.mtimeMs}` : 'no config'].join('|');
}

/** @returns undefined for a file that is none of our networks, nor the static LoRA that belongs to them */
function foundModel(identity: Identity, files: readonly string[], source: ModelSource): FoundModel | undefined {
  const { file: path, network, dtypes, bytes, parameters, fingerprint, synthetic } = identity;
  const id = identity.id ?? (network === 'lora' ? idOfLora(path) : undefined);
  if (network === undefined || (network === 'lora' && id === undefined)) return undefined;
  const variant = id === undefined ? 'other-sizes' : dtypes.every((dtype) => dtype === 'BF16') ? 'published' : 'other-dtype';
  const title = variant === 'other-dtype' ? `${identity.title}, in ${dtypes.join(' and ')}` : identity.title;
  const isUsable = dtypes.every((dtype) => (DTYPES as readonly string[]).includes(dtype));
  return {
    path,
    files: [...files],
    source,
    id,
    network,
    title,
    variant,
    dtypes: [...dtypes],
    isUsable,
    bytes,
    parameters,
    fingerprint,
    synthetic,
  };
}

/** Its layout is not published, so its published name has to do. */
function idOfLora(path: string): string | undefined {
  return CATALOGUE.find((entry) => entry.network === 'lora' && basename(entry.file) === basename(path))?.id;
}

/** Programs' caches may have the same model several times, and in several forms: which one to take. */
export function bestOf(models: readonly FoundModel[], id: string): FoundModel | undefined {
  const fitting = models.filter((model) => model.id === id && model.isUsable && (!model.synthetic || model.source === 'named'));
  const isNarrow = ({ dtypes }: FoundModel): boolean => dtypes.some((dtype) => dtype.startsWith('F8'));
  // Eight bits lose something; all else is a matter of place.
  return fitting.find((model) => !isNarrow(model)) ?? fitting[0];
}
