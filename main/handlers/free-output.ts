import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import { OPEN_STATES } from '../contract/queue.ts';
import type { JobQueue } from '../jobs/queue.ts';
import type { Library } from '../library/library.ts';
import { lorasFolder } from '../library/places.ts';
import { safeName, versionName } from '../weights/file-names.ts';

const MOST_VERSIONS = 1000;

interface Places {
  readonly dataFolder: string;
  readonly library: Library;
  readonly queue: JobQueue;
}

/**
 * Where a job may write a new LoRA of this name: in the data folder, at a path that no file has, no row of the
 * library and no job that is still to write it.
 * @throws I2lError FILE_WRITE_FAILED where a thousand names like it are taken
 */
export function freeOutput(places: Places, name: string): string {
  return nextFree(places, name, outputsOfOpenJobs(places.queue));
}

/** The same for several LoRAs of one job, which may have the same names. */
export function freeOutputs(places: Places, names: readonly string[]): string[] {
  const promised = outputsOfOpenJobs(places.queue);
  return names.map((name) => {
    const file = nextFree(places, name, promised);
    promised.add(file.toLowerCase());
    return file;
  });
}

function nextFree({ dataFolder, library }: Places, name: string, promised: ReadonlySet<string>): string {
  const stem = safeName(name);
  for (let version = 1; version <= MOST_VERSIONS; version++) {
    const file = join(lorasFolder(dataFolder), `${versionName(stem, version)}.safetensors`);
    const isThere = lstatSync(file, { throwIfNoEntry: false }) !== undefined;
    if (!isThere && !promised.has(file.toLowerCase()) && !library.loras.isTaken(file)) return file;
  }
  throw new I2lError('FILE_WRITE_FAILED', `${name}: ${MOST_VERSIONS} versions of it are there; choose another name.`, {
    file: name,
    reason: 'many-versions',
  });
}

/** In lower case: some file systems see no difference. */
function outputsOfOpenJobs(queue: JobQueue): Set<string> {
  return new Set(queue.list({ states: OPEN_STATES }).flatMap(({ id }) => outputsIn(queue.get(id).input)));
}

/** Of a job of whatever kind: its own output, and those of its sets. */
function outputsIn(input: unknown): string[] {
  if (typeof input !== 'object' || input === null) return [];
  const own = 'output' in input && typeof input.output === 'string' ? [input.output.toLowerCase()] : [];
  return 'sets' in input && Array.isArray(input.sets) ? [...own, ...input.sets.flatMap(outputsIn)] : own;
}
