import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { OPEN_STATES } from '../contract/queue.ts';
import type { JobStore } from '../jobs/store.ts';
import { manyVersions, MOST_VERSIONS, safeName, versionName } from '../weights/file-names.ts';
import type { Loras } from './loras.ts';
import { lorasFolder } from './places.ts';

/** Finds where the file of a LoRA may lie: at a path that no file has, no row, no open job and none that comes in. */
export class FreeFiles {
  readonly #folder: string;
  readonly #loras: Loras;
  readonly #jobs: JobStore;
  /** Where files come in just now, in lower case. */
  readonly #held = new Set<string>();

  /** @param folder the data folder */
  constructor(folder: string, loras: Loras, jobs: JobStore) {
    this.#folder = folder;
    this.#loras = loras;
    this.#jobs = jobs;
  }

  /**
   * For a new LoRA of this name, in the data folder. Nothing is held: the caller's job or row is to follow at once.
   * @throws I2lError FILE_WRITE_FAILED where a thousand names like it are taken; so all below
   */
  forNew(name: string): string {
    return this.#next(lorasFolder(this.#folder), safeName(name), this.#taken());
  }

  /** The same for several LoRAs of one job, which may have the same names. */
  forEachNew(names: readonly string[]): string[] {
    const taken = this.#taken();
    return names.map((name) => {
      const file = this.#next(lorasFolder(this.#folder), safeName(name), taken);
      taken.add(file.toLowerCase());
      return file;
    });
  }

  /** The first version of a name in a folder, which may be the LoRA's own file. */
  within(folder: string, stem: string, own: string): string {
    return this.#next(folder, stem, this.#taken(), own);
  }

  isFree(file: string): boolean {
    return this.#isFree(file, this.#taken());
  }

  /** Gives a path to nobody else while `work` makes a file and its row of it. */
  async hold<T>(file: string, work: () => Promise<T>): Promise<T> {
    const key = file.toLowerCase();
    this.#held.add(key);
    try {
      return await work();
    } finally {
      this.#held.delete(key);
    }
  }

  #next(folder: string, stem: string, taken: ReadonlySet<string>, own?: string): string {
    for (let version = 1; version <= MOST_VERSIONS; version++) {
      const file = join(folder, `${versionName(stem, version)}.safetensors`);
      if (file === own || this.#isFree(file, taken)) return file;
    }
    throw manyVersions(stem);
  }

  /** A link to nowhere is in the way too. */
  #isFree(file: string, taken: ReadonlySet<string>): boolean {
    const isThere = lstatSync(file, { throwIfNoEntry: false }) !== undefined;
    return !isThere && !taken.has(file.toLowerCase()) && !this.#loras.isTaken(file);
  }

  /** In lower case: some file systems see no difference. */
  #taken(): Set<string> {
    return new Set([...this.#held, ...this.#jobs.list({ states: OPEN_STATES }).flatMap(({ input }) => outputsIn(input))]);
  }
}

/** Of a job of whatever kind: its own output, and those of its sets. */
function outputsIn(input: unknown): string[] {
  if (typeof input !== 'object' || input === null) return [];
  const own = 'output' in input && typeof input.output === 'string' ? [input.output.toLowerCase()] : [];
  return 'sets' in input && Array.isArray(input.sets) ? [...own, ...input.sets.flatMap(outputsIn)] : own;
}
