import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import type { TensorRange } from '../contract/tensor.ts';
import { fingerprintOf, type Layout } from './fingerprint.ts';
import { readScale, scaledFp8 } from './scaled-fp8.ts';
import { asComputable, readSafetensors, shapeText, shorten, type SafetensorsFile, type TensorEntry } from './safetensors.ts';

/**
 * A model on disk: one safetensors file, or several with their index.json. Tensors are found by name,
 * wherever they lie.
 */
export class Checkpoint {
  /** What the user named: the file, or the index. */
  readonly path: string;
  readonly files: readonly SafetensorsFile[];
  /** Bytes of all files. */
  readonly size: number;
  readonly #owners = new Map<string, SafetensorsFile>();
  readonly #scales = new Map<string, TensorEntry>();
  /** Tensors of the files that are none of the model's. */
  #beside = 0;

  private constructor(path: string, files: readonly SafetensorsFile[]) {
    this.path = path;
    this.files = files;
    this.size = files.reduce((sum, file) => sum + file.size, 0);
    for (const file of files) this.#add(file);
  }

  #add(file: SafetensorsFile): void {
    const { scales, beside } = scaledFp8(file.tensors);
    for (const name of file.tensors.keys()) if (!beside.has(name)) this.#owners.set(name, file);
    for (const [name, entry] of scales) this.#scales.set(name, entry);
    this.#beside += beside.size;
  }

  /**
   * Opens a .safetensors file, a .safetensors.index.json, or all shards of a model by the name of one: some
   * programs download the shards and leave out their index.
   * @throws I2lError
   */
  static open(path: string): Checkpoint {
    if (path.endsWith('.index.json')) return Checkpoint.#openSharded(path);
    const shards = shardNames(basename(path)) ?? [basename(path)];
    const files = shards.map((name) => readSafetensors(join(dirname(path), name)));
    const checkpoint = new Checkpoint(path, files);
    if (checkpoint.#isAmbiguous) throw indexError(path, 'two of its shards hold a tensor of the same name');
    return checkpoint;
  }

  get #isAmbiguous(): boolean {
    return this.files.reduce((sum, file) => sum + file.tensors.size, 0) !== this.#owners.size + this.#beside;
  }

  static #openSharded(path: string): Checkpoint {
    const weightMap = readIndex(path);
    const shards = [...new Set(weightMap.values())].sort();
    const files = new Map(shards.map((shard) => [shard, readSafetensors(join(dirname(path), shard))]));
    const checkpoint = new Checkpoint(path, [...files.values()]);
    checkpoint.#checkIndex(weightMap, files);
    return checkpoint;
  }

  #checkIndex(weightMap: ReadonlyMap<string, string>, files: ReadonlyMap<string, SafetensorsFile>): void {
    if (this.#isAmbiguous) throw indexError(this.path, 'two of its shards hold a tensor of the same name');
    for (const [name, shard] of weightMap) {
      if (!files.get(shard)?.tensors.has(name)) throw indexError(this.path, `"${shorten(name)}" is not in ${shard}`);
    }
    for (const name of this.#owners.keys()) {
      if (!weightMap.has(name)) throw indexError(this.path, `"${shorten(name)}" is in a shard and not in the index`);
    }
  }

  get names(): Iterable<string> {
    return this.#owners.keys();
  }

  has(name: string): boolean {
    return this.#owners.has(name);
  }

  /** The header's entry of a tensor. */
  entry(name: string): TensorEntry | undefined {
    return this.#owners.get(name)?.tensors.get(name);
  }

  /** Names and shapes of everything in it. */
  layout(): Layout {
    return [...this.#owners].map(([name, file]) => ({ name, shape: file.tensors.get(name)?.shape ?? [] }));
  }

  fingerprint(): string {
    return fingerprintOf(this.layout());
  }

  /**
   * Where a tensor lies. @param shape what the network expects of it.
   * @throws I2lError TENSOR_MISSING, TENSOR_SHAPE, SAFETENSORS_TENSOR (a dtype that we can't compute with)
   */
  tensor(name: string, shape: readonly number[]): TensorRange {
    const owner = this.#owners.get(name);
    const entry = owner?.tensors.get(name);
    if (!owner || !entry) {
      throw new I2lError('TENSOR_MISSING', `${this.path}: tensor "${name}" is missing; the file is of another model.`, {
        file: this.path,
        tensor: name,
      });
    }
    if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
      const expected = shapeText(shape);
      throw new I2lError(
        'TENSOR_SHAPE',
        `${owner.file}: tensor "${name}": expected shape ${expected} and got ${shapeText(entry.shape)}.`,
        { file: owner.file, tensor: name, expected, got: shapeText(entry.shape) },
      );
    }
    const scale = this.#scales.get(name);
    const range = asComputable(owner, entry);
    return scale ? { ...range, scale: readScale(owner, scale) } : range;
  }
}

/** 'model-00002-of-00004.safetensors' to the names of all four; undefined for a file that stands alone. */
export function shardNames(name: string): string[] | undefined {
  const [, stem, index, total] = /^(.*)-(\d{5})-of-(\d{5})\.safetensors$/.exec(name) ?? [];
  const count = Number(total);
  if (stem === undefined || total === undefined || Number(index) < 1 || Number(index) > count || count > MOST_SHARDS)
    return undefined;
  return Array.from({ length: count }, (_, at) => `${stem}-${String(at + 1).padStart(5, '0')}-of-${total}.safetensors`);
}

/** More would be more open headers than anybody's model has. */
const MOST_SHARDS = 1000;

function readIndex(path: string): ReadonlyMap<string, string> {
  let parsed: unknown;
  try {
    if (statSync(path).size > 50_000_000) throw indexError(path, 'it is larger than 50 MB');
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) throw indexError(path, 'it is not valid JSON');
    throw fileError(path, 'read', error);
  }
  const map = (parsed as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw indexError(path, 'it has no weight_map');
  const entries = Object.entries(map);
  if (entries.length === 0) throw indexError(path, 'its weight_map is empty');
  for (const [name, shard] of entries) {
    // A shard is a plain name beside the index: an index from the internet must not point elsewhere.
    if (typeof shard !== 'string' || shard !== basename(shard) || !shard.endsWith('.safetensors')) {
      const what = typeof shard === 'string' ? JSON.stringify(shorten(shard)) : `a value of type ${typeof shard}`;
      throw indexError(path, `"${shorten(name)}" points to ${what}, which is not a .safetensors file beside it`);
    }
  }
  return new Map(entries as [string, string][]);
}

function indexError(file: string, why: string): I2lError {
  return new I2lError('SAFETENSORS_INDEX', `${file}: not a usable index: ${why}.`, { file, why });
}
