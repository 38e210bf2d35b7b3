import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { cutText } from '../contract/cut-text.ts';
import { fileError, I2lError } from '../contract/errors.ts';
import { MOST_NAME, type FailedFile, type Storage } from '../contract/library-values.ts';
import type { Added, Rescanned } from '../contract/sets.ts';
import { imagesIn } from '../imaging/list-images.ts';
import type { Database } from './database.ts';
import type { Images } from './images.ts';
import { mapLimited } from './limited.ts';
import { fromStored, toStored } from './places.ts';
import { planRescan, type RescanPlan } from './rescan-plan.ts';
import type { Sets } from './sets.ts';
import { FILES_A_WRITE, takeFiles, type ImportOptions, type TakenFile } from './take-files.ts';

const STATS_AT_ONCE = 32;

export interface FolderImport {
  readonly sets: Rescanned[];
  /** Sub-folders that made no set. */
  readonly failed: FailedFile[];
}

interface Item {
  readonly hash: string;
  readonly source: string;
  readonly bytes: number;
  readonly mtimeMs: number;
}

/** How images come into sets: by file, by folder, by a folder of folders, and when a folder is read again. */
export class SetImport {
  readonly #database: Database;
  readonly #images: Images;
  readonly #sets: Sets;
  readonly #now: () => number;

  constructor(database: Database, images: Images, sets: Sets, now: () => number) {
    this.#database = database;
    this.#images = images;
    this.#sets = sets;
    this.#now = now;
  }

  /**
   * Adds files to a set, some at a time: after a crash those written are in it.
   * @throws I2lError NOT_IN_LIBRARY, CANCELLED
   */
  async addImages(
    id: number,
    files: readonly string[],
    options: ImportOptions & { readonly storage?: Storage | undefined } = {},
  ): Promise<Added> {
    const { name, storage } = this.#sets.summary(id);
    const result: Added = { setId: id, name, added: [], duplicates: [], failed: [] };
    for (let first = 0; first < files.length; first += FILES_A_WRITE) {
      const part = files.slice(first, first + FILES_A_WRITE).map((file) => resolve(file));
      const taken = await takeFiles(this.#images, part, options.storage ?? storage, {
        signal: options.signal,
        onProgress: (done) => options.onProgress?.(first + done, files.length),
      });
      this.#database.write(() => {
        this.#sets.summary(id); // Gone, it is an error that says so.
        for (const one of taken) this.#add(id, one, result);
        this.#sets.touched(id);
      });
    }
    return result;
  }

  /**
   * A folder becomes a set that mirrors it; one that is mirrored already is read again. With `each`, every
   * sub-folder does.
   * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, NO_IMAGES, CANCELLED
   */
  async importFolder(
    folder: string,
    options: ImportOptions & { readonly storage?: Storage | undefined; readonly each?: boolean } = {},
  ): Promise<FolderImport> {
    const root = resolve(folder);
    if (!options.each) return { sets: [await this.#importOne(root, options)], failed: [] };
    const result: FolderImport = { sets: [], failed: [] };
    const folders = await subfolders(root);
    const counts = folders.map((sub) => countImages(sub));
    const total = counts.reduce((sum, count) => sum + count, 0);
    let before = 0;
    for (const [i, sub] of folders.entries()) {
      const onProgress = (done: number): void => options.onProgress?.(before + done, total);
      try {
        result.sets.push(await this.#importOne(sub, { ...options, onProgress }));
      } catch (error) {
        const known = I2lError.from(error);
        if (known.code === 'CANCELLED') throw known;
        result.failed.push({ file: sub, error: known.toShape() });
      }
      before += counts[i] ?? 0;
    }
    return result;
  }

  /**
   * Reads a set's folder again. Files whose size and time are as they were are not opened.
   * @throws I2lError NOT_IN_LIBRARY; BAD_ARGUMENT if it mirrors none; FILE_NOT_FOUND, FILE_UNREADABLE; NO_IMAGES if
   * the folder has none left, as one whose disk is away: then nothing is changed; CANCELLED
   */
  async rescan(id: number, options: ImportOptions = {}): Promise<Rescanned> {
    const { name, folder, storage } = this.#sets.summary(id);
    if (folder === null)
      throw new I2lError('BAD_ARGUMENT', `${name}: this image set mirrors no folder.`, {
        set: id,
        name,
        reason: 'mirrors-no-folder',
      });
    const files = imagesIn(folder);
    const known = new Map(this.#itemsIn(id, folder).map((item) => [item.source, item]));
    if (files.length === 0 && known.size > 0) {
      throw new I2lError('NO_IMAGES', `${folder}: there is no image left in this folder; the set stays as it was.`, {
        folder,
        reason: 'folder-emptied',
      });
    }
    const isKnown = await mapLimited(files, STATS_AT_ONCE, async (file) => isUnchanged(file, known.get(file)));
    const kept = files.filter((_, i) => isKnown[i]);
    const others = files.filter((_, i) => !isKnown[i]);
    const taken = await takeFiles(this.#images, others, storage, options);
    return this.#database.write(() => this.#applyRescan(id, { name, folder, files, kept: new Set(kept), taken }));
  }

  async #importOne(folder: string, options: ImportOptions & { readonly storage?: Storage | undefined }): Promise<Rescanned> {
    const there = this.#database.get<{ id: number }>('SELECT id FROM sets WHERE folder = ? AND trashed_at IS NULL', [
      toStored(this.#database.folder, folder),
    ]);
    if (there) return this.rescan(there.id, options);
    const files = imagesIn(folder);
    if (files.length === 0) throw new I2lError('NO_IMAGES', `${folder}: there is no image in this folder.`, { folder });
    const id = this.#createFor(folder, options.storage ?? 'referenced');
    const added = await this.addImages(id, files, options);
    if (added.added.length === 0) {
      this.#database.write(() => this.#forget(id));
      throw noneUsable(folder, added.failed);
    }
    return { ...added, removed: [], changed: [], moved: [] };
  }

  #createFor(folder: string, storage: Storage): number {
    const name = cutText((basename(folder) || folder).normalize('NFC').toWellFormed(), MOST_NAME);
    return this.#database.write(() => {
      const { id } = this.#sets.create({ name, storage });
      this.#database.run('UPDATE sets SET folder = ? WHERE id = ?', [toStored(this.#database.folder, folder), id]);
      return id;
    });
  }

  #forget(id: number): void {
    this.#database.run('DELETE FROM sets WHERE id = ?', [id]);
    this.#database.run('DELETE FROM sets_search WHERE rowid = ?', [id]);
  }

  #add(id: number, one: TakenFile, result: Added): void {
    result.failed.push(...one.failed);
    if (!one.taken) return;
    const hash = one.taken.sha256;
    const isThere = this.#database.get('SELECT 1 FROM set_images WHERE set_id = :id AND hash = :hash', { id, hash });
    if (isThere) result.duplicates.push({ file: one.file, hash });
    else {
      this.#insert(id, one, {});
      result.added.push(hash);
    }
  }

  /** @param place of an image that this one replaces; at the end without it */
  #insert(id: number, { taken, caption }: TakenFile, place: Partial<Place>): void {
    if (!taken) return;
    this.#images.put(taken, this.#now());
    this.#database.run(INSERT, {
      id,
      hash: taken.sha256,
      weight: place.weight ?? 1,
      caption: place.caption ?? caption,
      position: place.position ?? null,
      storage: taken.storage,
      source: toStored(this.#database.folder, taken.source),
      bytes: taken.bytes,
      mtimeMs: taken.mtimeMs,
    });
  }

  /** Images of a set whose file lies in a folder. */
  #itemsIn(id: number, folder: string): Item[] {
    return this.#database
      .all<Item>(ITEMS, [id])
      .map((item) => ({ ...item, source: fromStored(this.#database.folder, item.source) }))
      .filter(({ source }) => dirname(source) === folder);
  }

  /** Within a write, and against what the set is by then: others may have changed it while files were read. */
  #applyRescan(id: number, { name, folder, files, kept, taken }: Reading): Rescanned {
    const items = this.#itemsIn(id, folder);
    const inFolder = new Set(items.map(({ hash }) => hash));
    const all = this.#database.all<{ hash: string }>('SELECT hash FROM set_images WHERE set_id = ?', [id]);
    const elsewhere = new Set(all.map(({ hash }) => hash).filter((hash) => !inFolder.has(hash)));
    const byFile = new Map(taken.map((one) => [one.file, one]));
    const hashes = new Map(items.filter(({ source }) => kept.has(source)).map(({ source, hash }) => [source, hash]));
    const now = files.map((file) => ({ file, hash: byFile.get(file)?.taken?.sha256 ?? hashes.get(file) }));
    const plan = planRescan(items, elsewhere, now);
    this.#carryOut(id, plan, byFile);
    for (const { file, taken: image } of taken) {
      if (image) this.#database.run(SEEN, { id, hash: image.sha256, source: toStored(this.#database.folder, file), mtimeMs: image.mtimeMs }); // prettier-ignore
    }
    this.#sets.touched(id);
    const added = plan.added.map(({ hash }) => hash);
    return { setId: id, name, ...plan, added, failed: taken.flatMap(({ failed }) => failed) };
  }

  #carryOut(id: number, plan: RescanPlan, byFile: ReadonlyMap<string, TakenFile>): void {
    const remove = (hash: string): void => {
      this.#database.run('DELETE FROM set_images WHERE set_id = :id AND hash = :hash', { id, hash });
    };
    for (const { to, hash } of plan.moved) {
      this.#database.run('UPDATE set_images SET source = :source WHERE set_id = :id AND hash = :hash', {
        id,
        hash,
        source: toStored(this.#database.folder, to),
      });
    }
    for (const { file, from } of plan.changed) {
      const place = this.#database.get<Place>(PLACE, { id, hash: from });
      remove(from);
      const one = byFile.get(file);
      if (one) this.#insert(id, one, place ?? {});
    }
    plan.removed.forEach(remove);
    for (const { file } of plan.added) {
      const one = byFile.get(file);
      if (one) this.#insert(id, one, {});
    }
  }
}

interface Place {
  readonly position: number;
  readonly weight: number;
  readonly caption: string;
}

/** What a folder holds, and what was read of it. */
interface Reading {
  readonly name: string;
  readonly folder: string;
  readonly files: readonly string[];
  /** Files that are as they were. */
  readonly kept: ReadonlySet<string>;
  readonly taken: readonly TakenFile[];
}

async function isUnchanged(file: string, known: Item | undefined): Promise<boolean> {
  if (!known) return false;
  const now = await stat(file).catch(() => undefined);
  return now !== undefined && now.size === known.bytes && now.mtimeMs === known.mtimeMs;
}

async function subfolders(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => name);
    if (folders.length === 0)
      throw new I2lError('NO_IMAGES', `${folder}: there is no folder in this folder.`, { folder, reason: 'no-folders' });
    return folders.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => join(folder, name));
  } catch (error) {
    throw fileError(folder, 'read', error);
  }
}

/** For progress alone: a folder that can't be read says so when it is imported. */
function countImages(folder: string): number {
  try {
    return imagesIn(folder).length;
  } catch {
    return 0;
  }
}

function noneUsable(folder: string, failed: readonly FailedFile[]): I2lError {
  const refused = failed.map(({ error }) => error.message);
  return new I2lError('NO_IMAGES', `${folder}: none of its images can be used.`, { folder, refused, reason: 'all-refused' });
}

const ITEMS = `
  SELECT hash, source, source_bytes AS bytes, source_mtime_ms AS mtimeMs FROM set_images WHERE set_id = ? ORDER BY position`;
const PLACE = 'SELECT position, weight, caption FROM set_images WHERE set_id = :id AND hash = :hash';
const INSERT = `
  INSERT INTO set_images (set_id, hash, position, weight, caption, storage, source, source_bytes, source_mtime_ms)
  VALUES (:id, :hash, coalesce(:position, (SELECT coalesce(max(position), -1) + 1 FROM set_images WHERE set_id = :id)),
    :weight, :caption, :storage, :source, :bytes, :mtimeMs)`;
/** The same content in the same file, written again. */
const SEEN = `
  UPDATE set_images SET source_mtime_ms = :mtimeMs WHERE set_id = :id AND hash = :hash AND source = :source`;
