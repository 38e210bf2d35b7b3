import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import { formatBytes } from '../contract/format-bytes.ts';
import type { ModelsChoice } from '../contract/models.ts';
import { catalogueEntry, type CatalogueEntry } from './catalogue.ts';

/** Where a model lies. */
export interface LocatedModel {
  readonly id: string;
  /** The safetensors file, or the index of its shards. */
  readonly path: string;
  readonly configPath: string | undefined;
}

/**
 * Finds a model in the user's folder: in a sub-folder named by its id, or under its published name
 * (as a download of the hub's repository lays it down, or the file alone).
 * @throws I2lError MODEL_MISSING with its size and where it is published; FILE_NOT_FOUND for the folder
 */
export function locateModel(models: ModelsChoice | undefined, id: string): LocatedModel {
  const entry = catalogueEntry(id);
  if (typeof models !== 'string') return chosen(models, entry);
  return locateIn(models, entry);
}

function chosen(models: Readonly<Record<string, string>> | undefined, entry: CatalogueEntry): LocatedModel {
  const path = models?.[entry.id];
  if (path === undefined) throw missingHere([entry]);
  return { id: entry.id, path, configPath: configBeside(path) };
}

function locateIn(folder: string, entry: CatalogueEntry): LocatedModel {
  const { id } = entry;
  checkFolder(folder);
  const path = inOwnFolder(join(folder, id)) ?? publishedPaths(folder, entry).find((candidate) => existsSync(candidate));
  if (path === undefined) throw missing(folder, entry);
  return { id, path, configPath: configBeside(path) };
}

/** A Hugging Face config.json in the same folder. */
export function configBeside(path: string): string | undefined {
  const config = join(dirname(path), 'config.json');
  return existsSync(config) ? config : undefined;
}

function checkFolder(folder: string): void {
  try {
    if (!statSync(folder).isDirectory())
      throw new I2lError('BAD_ARGUMENT', `${folder}: --models names a folder, not a file.`, { folder });
  } catch (error) {
    throw fileError(folder, 'read', error);
  }
}

/** The index of its shards if there is one, else model.safetensors, else the only .safetensors file. */
function inOwnFolder(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const names = namesIn(folder).filter((name) => !name.startsWith('.'));
  const index = names.find((name) => name.endsWith('.safetensors.index.json'));
  const single = names.filter((name) => name.endsWith('.safetensors'));
  const chosen =
    index ?? (single.includes('model.safetensors') ? 'model.safetensors' : single.length === 1 ? single[0] : undefined);
  return chosen === undefined ? undefined : join(folder, chosen);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw fileError(folder, 'read', error);
  }
}

function publishedPaths(folder: string, { hubs, file }: CatalogueEntry): string[] {
  const paths = [...new Set(Object.values(hubs))].flatMap((hub) => [join(folder, hub, file), join(folder, basename(hub), file)]);
  // A bare 'model.safetensors' could be anything; a name of its own, or a folder of its own, is enough.
  if (basename(file) !== 'model.safetensors' || file.includes('/')) paths.push(join(folder, file));
  return paths;
}

/** Models that were looked for everywhere. */
export function missingHere(entries: readonly CatalogueEntry[]): I2lError {
  const bytes = entries.reduce((sum, entry) => sum + (entry.bytes ?? 0), 0);
  const names = entries.map(({ title }) => `the ${title}`).join(', ');
  const ids = entries.map(({ id }) => id);
  const message = `Not on this machine: ${names} (${formatBytes(bytes)}); download with "i2l models pull ${ids.join(' ')}", or say where with --models.`;
  return new I2lError('MODEL_MISSING', message, { model: ids[0] ?? '', models: ids, bytes });
}

function missing(folder: string, entry: CatalogueEntry): I2lError {
  const size = entry.bytes === null ? '' : ` (${formatBytes(entry.bytes)})`;
  return new I2lError(
    'MODEL_MISSING',
    `${folder}: the ${entry.title}${size} is not there; download it with "i2l models pull ${entry.id}", or ${entry.file} of ${entry.hubs.huggingface} from Hugging Face or ModelScope into ${join(folder, entry.id)}.`,
    {
      folder,
      model: entry.id,
      hub: entry.hubs.huggingface,
      path: entry.file,
      ...(entry.bytes === null ? {} : { bytes: entry.bytes }),
    },
  );
}
