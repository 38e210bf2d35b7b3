import { Database, type OpenOptions } from './database.ts';
import { Images } from './images.ts';
import { LoraExports } from './lora-exports.ts';
import { LoraFiles } from './lora-files.ts';
import { Loras } from './loras.ts';
import { SetImport } from './set-import.ts';
import { Sets } from './sets.ts';

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
  readonly loraFiles: LoraFiles;
  readonly loraExports: LoraExports;

  /** Over a database that is open already; its owner closes it. */
  constructor(database: Database, now: () => number = Date.now) {
    this.database = database;
    this.images = new Images(database);
    this.sets = new Sets(database, now);
    this.setImport = new SetImport(database, this.images, this.sets, now);
    this.loras = new Loras(database, now);
    this.loraFiles = new LoraFiles(database, this.loras, now);
    this.loraExports = new LoraExports(database, now);
  }

  /** @throws I2lError as Database.open */
  static async open(folder: string, { now = Date.now, ...options }: LibraryOptions): Promise<Library> {
    const library = new Library(await Database.open(folder, options), now);
    await library.loraFiles.recover();
    return library;
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    await this.database.close();
  }
}
