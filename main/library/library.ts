import { Database, type OpenOptions } from './database.ts';
import { Images } from './images.ts';
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

  private constructor(database: Database, now: () => number) {
    this.database = database;
    this.images = new Images(database);
    this.sets = new Sets(database, now);
    this.setImport = new SetImport(database, this.images, this.sets, now);
  }

  /** @throws I2lError as Database.open */
  static async open(folder: string, { now = Date.now, ...options }: LibraryOptions): Promise<Library> {
    return new Library(await Database.open(folder, options), now);
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    await this.database.close();
  }
}
