import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FoundModel, ModelView } from '../contract/models.ts';
import { CATALOGUE, neededBy, type CatalogueEntry } from '../weights/catalogue.ts';
import { bestOf } from '../weights/discover.ts';
import { partPath } from '../weights/hub/part-file.ts';
import type { DownloadRecord } from '../weights/hub/records.ts';

export interface Where {
  /** What the app downloaded. */
  readonly records: readonly DownloadRecord[];
  /** Where it downloads to. */
  readonly modelsFolder: string;
  /** The file of a model in that folder, by catalogue id: what a job takes, whatever its sizes. */
  readonly own: (id: string) => string | undefined;
}

/**
 * The catalogue, with what of it is on this machine.
 * @param found as findModels gives it.
 */
export async function listModels(found: readonly FoundModel[], where: Where): Promise<ModelView[]> {
  return Promise.all(CATALOGUE.map((entry) => viewOf(entry, found, where)));
}

async function viewOf(
  entry: CatalogueEntry,
  found: readonly FoundModel[],
  { records, modelsFolder, own }: Where,
): Promise<ModelView> {
  const { id, title, network, hubs, licence } = entry;
  const path = own(id);
  const here = found.find((model) => model.path === path) ?? bestOf(found, id);
  const partialBytes = here ? 0 : await bytesOfParts(entry, records, modelsFolder);
  return {
    id,
    title,
    network,
    hubs: { ...hubs },
    licence: { ...licence },
    neededBy: neededBy(id),
    state: here ? 'here' : partialBytes > 0 ? 'partial' : 'missing',
    isDownloaded: here !== undefined && records.some(({ path }) => here.files.includes(path)),
    partialBytes,
    missingBytes: here ? 0 : Math.max(0, (entry.bytes ?? 0) - partialBytes),
    ...(entry.bytes === null ? {} : { bytes: entry.bytes }),
    ...(here ? { found: here } : {}),
  };
}

/** What a stopped download of it holds: parts, and whole files of several. */
async function bytesOfParts(entry: CatalogueEntry, records: readonly DownloadRecord[], modelsFolder: string): Promise<number> {
  const whole = records.filter(({ model }) => model === entry.id).map(({ path }) => path);
  const targets = [entry.file, ...entry.parts].map((path) => join(modelsFolder, entry.hubs.huggingface, path));
  const sizes = await Promise.all([...whole, ...targets.map(partPath)].map(bytesOnDisk));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

/** A part has its full size from the start, and takes room as it fills. */
async function bytesOnDisk(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  if (!found) return 0;
  return process.platform === 'win32' ? found.size : Math.min(found.size, found.blocks * 512);
}
