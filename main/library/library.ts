import type { FailedFile } from '../contract/library-values.ts';
import { Database, type OpenOptions } from './database.ts';
import { FreeFiles } from './free-files.ts';
import { Images } from './images.ts';
import { LibraryJobs } from './jobs.ts';
import { LoraExports } from './lora-exports.ts';
import { LoraFiles } from './lora-files.ts';
import { Loras } from './loras.ts';
import { Maintenance } from './maintenance.ts';
import { SetImport } from './set-import.ts';
import { Sets } from './sets.ts';

/** An image this new may be on its way into a set. */
const SETTLING_MS = 3_600_000;

export interface LibraryOptions extends OpenOptions {
  /** The wall clock, milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
}

/** All that a data folder's library can do, over one open database. */
export class Library {
  readonly database: Database;
  readonly images: Images;
  readonly sets: Sets;
  readonly setImport: SetImport;
  readonly loras: Loras;
  readonly freeFiles: FreeFiles;
  readonly loraFiles: LoraFiles;
  readonly loraExports: LoraExports;
  readonly maintenance: Maintenance;
  readonly #now: () => number;

  /** Over a database that is open already; its owner closes it. */
  constructor(database: Database, now: () => number = Date.now) {
    this.database = database;
    this.images = new Images(database);
    this.sets = new Sets(database, now);
    this.setImport = new SetImport(database, this.images, this.sets, now);
    this.loras = new Loras(database, this.images, now);
    this.freeFiles = new FreeFiles(database.folder, this.loras, new LibraryJobs(database));
    this.loraFiles = new LoraFiles(database, this.loras, this.freeFiles, now);
    this.loraExports = new LoraExports(database, now);
    this.maintenance = new Maintenance(database, this.loras);
    this.#now = now;
  }

  /** @throws I2lError as Database.open */
  static async open(folder: string, { now = Date.now, ...options }: LibraryOptions): Promise<Library> {
    const library = new Library(await Database.open(folder, options), now);
    await library.loraFiles.recover();
    return library;
  }

  /**
   * An image file becomes a LoRA's preview; a copy of it is kept.
   * @returns its hash
   * @throws I2lError NOT_IN_LIBRARY, IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, DISK_FULL
   */
  async takePreview(loraId: number, file: string): Promise<string> {
    const image = await this.images.take(file, 'copied');
    // In a write of its own: if the LoRA went meanwhile, the copy has a row, by which it goes with the unused.
    this.database.write(() => this.images.put(image, this.#now()));
    this.loras.update(loraId, { preview: image.sha256 });
    return image.sha256;
  }

  /** What is in the trash is gone for good, with the images that nothing uses any more. */
  async emptyTrash(): Promise<{ sets: number; loras: number; images: number; failed: FailedFile[] }> {
    const sets = this.sets.emptyTrash();
    const { removed, failed } = await this.loraFiles.emptyTrash();
    const images = await this.images.removeUnused(this.#now() - SETTLING_MS);
    return { sets, loras: removed, images, failed };
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    await this.database.close();
  }
}
