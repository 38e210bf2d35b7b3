import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError, systemCode } from '../contract/errors.ts';
import type { LibraryCheck, LibraryInfo } from '../contract/library.ts';
import { fileState } from '../weights/file-state.ts';
import { copyDatabase, listBackups, makeBackup } from './backup.ts';
import type { Database } from './database.ts';
import { integrityFaults } from './integrity.ts';
import { mapLimited } from './limited.ts';
import type { LoraRow } from './lora-rows.ts';
import { LORA_COLUMNS } from './lora-rows.ts';
import type { Loras } from './loras.ts';
import { fromStored, imageCopy, lorasFolder, toStored } from './places.ts';

const FILES_AT_ONCE = 16;

/** How the library is: its size, its soundness, its backups. */
export class Maintenance {
  readonly #database: Database;
  readonly #loras: Loras;

  constructor(database: Database, loras: Loras) {
    this.#database = database;
    this.#loras = loras;
  }

  async info(): Promise<LibraryInfo> {
    const { folder, file, version } = this.#database;
    const counts = this.#database.get<Omit<LibraryInfo, 'folder'>>(COUNTS);
    const { size } = await stat(file);
    const backups = (await listBackups(folder)).map(({ path }) => path);
    return { ...{ sets: 0, images: 0, loras: 0, trashed: 0 }, ...counts, folder, file, version, bytes: size, backups };
  }

  /** Looks at the database and at every file that it names; whether a LoRA is missing is noted. */
  async check(): Promise<LibraryCheck> {
    const faults = this.#database.raw((sqlite) => integrityFaults(sqlite));
    // Of a damaged database nothing else can be trusted to be read.
    if (faults.length > 0) return { faults, missingLoras: [], missingImages: [], unlisted: [] };
    return {
      faults,
      missingLoras: await this.#missingLoras(),
      missingImages: await this.#missingImages(),
      unlisted: await this.#unlisted(),
    };
  }

  /**
   * @param to a file that is not there yet; without it, the next of the data folder's backups
   * @returns its path
   * @throws I2lError LIBRARY_DAMAGED, DISK_FULL, FILE_WRITE_FAILED
   */
  async backup(to?: string): Promise<string> {
    return this.#database.raw(async (sqlite) => {
      if (to === undefined) return (await makeBackup(sqlite, this.#database.folder)).path;
      await copyDatabase(sqlite, to);
      return to;
    });
  }

  async #missingLoras(): Promise<LibraryCheck['missingLoras']> {
    const rows = this.#database.all<LoraRow>(`SELECT ${LORA_COLUMNS} FROM loras WHERE moving_to IS NULL ORDER BY id`);
    const found = await mapLimited(rows, FILES_AT_ONCE, async (row) => {
      const file = fromStored(this.#database.folder, row.path);
      const now = await fileState({ path: file, bytes: row.bytes, sha256: row.sha256 });
      this.#loras.noteFile(row, now);
      return now.state === 'missing' ? [{ id: row.id, file }] : [];
    });
    return found.flat();
  }

  async #missingImages(): Promise<LibraryCheck['missingImages']> {
    const { folder } = this.#database;
    const rows = this.#database.all<ImageRow>(IMAGES);
    const found = await mapLimited(rows, FILES_AT_ONCE, async ({ setId, hash, storage, copy, source, bytes, mtimeMs }) => {
      const isCopy = storage === 'copied' && copy !== null;
      const file = isCopy ? imageCopy(folder, copy) : fromStored(folder, source);
      const { state } = await fileState({ path: file, bytes, sha256: hash, ...(isCopy ? {} : { mtimeMs }) });
      return state === 'present' ? [] : [{ setId, file }];
    });
    return found.flat();
  }

  async #unlisted(): Promise<string[]> {
    const folder = lorasFolder(this.#database.folder);
    const names = await readdir(folder).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw fileError(folder, 'read', error);
    });
    const known = new Set(this.#database.all<{ path: string }>('SELECT path FROM loras').map(({ path }) => path));
    return names
      .filter((name) => /\.safetensors$/i.test(name))
      .map((name) => join(folder, name))
      .filter((file) => !known.has(toStored(this.#database.folder, file)));
  }
}

interface ImageRow {
  readonly setId: number;
  readonly hash: string;
  readonly storage: string;
  readonly copy: string | null;
  readonly source: string;
  readonly bytes: number;
  readonly mtimeMs: number;
}

const IMAGES = `
  SELECT set_id AS setId, hash, storage, copy, source, bytes, source_mtime_ms AS mtimeMs
  FROM set_images JOIN images USING (hash) ORDER BY set_id, position`;
const COUNTS = `
  SELECT (SELECT count(*) FROM sets WHERE trashed_at IS NULL) AS sets, (SELECT count(*) FROM images) AS images,
    (SELECT count(*) FROM loras WHERE trashed_at IS NULL) AS loras,
    (SELECT count(*) FROM sets WHERE trashed_at IS NOT NULL) + (SELECT count(*) FROM loras WHERE trashed_at IS NOT NULL) AS trashed`;
