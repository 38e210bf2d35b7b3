import { basename, dirname, join, resolve } from 'node:path';
import { rmdir } from 'node:fs/promises';
import { I2lError } from '../contract/errors.ts';
import type { FailedFile, Storage } from '../contract/library-values.ts';
import type { LoraFacts, LoraView } from '../contract/loras.ts';
import { contentOf, copyToPart, publishNew } from '../weights/atomic-copy.ts';
import { safeName } from '../weights/file-names.ts';
import { isAlive } from '../weights/stale-files.ts';
import type { Database } from './database.ts';
import type { FreeFiles } from './free-files.ts';
import type { LoraRow } from './lora-rows.ts';
import type { Loras, NewLora } from './loras.ts';
import { isAnother, isFile, moveLora, removeFile, removeLora } from './move-files.ts';
import { fromStored, isStoredInside, toStored, trashFolder } from './places.ts';
import { makeFolder } from '../weights/make-folder.ts';

/** Which files a change may touch: those in the data folder, or also those elsewhere. */
export type Reach = 'own' | 'all';

/** How a file comes in: as a copy, where it is, or from a place that it is taken away from. */
export type Arrival = Storage | 'moved';

/**
 * Moves the files of LoRAs: into the trash and out of it, and to new names. A move is noted in the row before a
 * file is touched and settled after; one that was cut off is finished by recover().
 */
export class LoraFiles {
  readonly #database: Database;
  readonly #loras: Loras;
  readonly #free: FreeFiles;
  readonly #now: () => number;
  /** Of files that come in once: the last one's. */
  #arriving: Promise<unknown> = Promise.resolve();

  constructor(database: Database, loras: Loras, free: FreeFiles, now: () => number) {
    this.#database = database;
    this.#loras = loras;
    this.#free = free;
    this.#now = now;
  }

  /**
   * Finishes what a process that died has begun, at the library's opening, when this one has begun nothing: a row with
   * its id is of another, which had the same. @returns how many moves
   */
  async recover(): Promise<number> {
    const rows = this.#database
      .all<{ id: number; pid: number }>('SELECT id, moving_pid AS pid FROM loras WHERE moving_to IS NOT NULL')
      .filter(({ pid }) => pid === process.pid || !isAlive(pid));
    for (const { id } of rows) await this.#recoverOne(this.#loras.row(id));
    return rows.length;
  }

  /**
   * Brings a LoRA in unless the library has one with its tensors. One after the other: of two that are the same and
   * come at once, the second finds the first.
   * @throws I2lError as bringIn
   */
  async bringInOnce(facts: LoraFacts, arrival: Arrival): Promise<{ readonly id: number; readonly duplicate: boolean }> {
    const arrived = this.#arriving.then(async () => {
      const there = this.#loras.withTensors(facts.tensorHash);
      return there === undefined
        ? { id: (await this.bringIn(facts, arrival)).id, duplicate: false }
        : { id: there, duplicate: true };
    });
    this.#arriving = arrived.catch(() => undefined);
    return arrived;
  }

  /**
   * Brings a LoRA file in: a copy in the data folder, the file where it is, or the file itself. If it can be no row,
   * its file is as it was.
   * @throws I2lError FILE_NOT_FOUND, FILE_WRITE_FAILED (also if the file is not what `facts` say), DISK_FULL
   */
  async bringIn(facts: LoraFacts, arrival: Arrival, more: NewLora = {}): Promise<LoraView> {
    const source = resolve(facts.file);
    const inside = isStoredInside(toStored(this.#database.folder, source));
    if (arrival === 'referenced' || (arrival === 'copied' && inside)) return this.#loras.add({ ...facts, file: source }, more);
    const stem = basename(source).replace(/\.safetensors$/i, '');
    const named = { ...more, name: more.name ?? stem };
    const from = { ...facts, file: source };
    for (;;) {
      const file = this.#free.forNew(stem);
      const lora = await this.#free.hold(file, () =>
        arrival === 'moved' ? this.#takeAway(from, file, named) : this.#takeCopy(from, file, named),
      );
      if (lora) return lora;
    }
  }

  /** The file itself, from where `facts` say that it is. */
  async #takeAway(facts: LoraFacts, file: string, more: NewLora): Promise<LoraView> {
    await moveLora(facts.file, file);
    return this.#addOr(() => moveLora(file, facts.file), { ...facts, file }, more);
  }

  /** @returns undefined where another process took the name meanwhile */
  async #takeCopy(facts: LoraFacts, file: string, more: NewLora): Promise<LoraView | undefined> {
    await makeFolder(dirname(file));
    const part = await copyToPart(facts.file, file, { size: facts.bytes, sha256: facts.sha256 });
    if (!(await publishNew(part))) return undefined;
    return this.#addOr(() => removeFile(file), { ...facts, file }, more);
  }

  async #addOr(takeBack: () => Promise<void>, facts: LoraFacts, more: NewLora): Promise<LoraView> {
    try {
      return this.#loras.add(facts, more);
    } catch (error) {
      await takeBack();
      throw error;
    }
  }

  /**
   * Renames a LoRA, and its file with what lies beside it where `reach` allows.
   * @throws I2lError NOT_IN_LIBRARY, FILE_WRITE_FAILED, FILE_NOT_FOUND
   */
  async rename(id: number, name: string, reach: Reach): Promise<LoraView> {
    const row = this.#loras.row(id);
    const from = fromStored(this.#database.folder, row.path);
    if (row.trashedAt === null && this.#mayMove(row, reach) && (await isFile(from))) {
      const to = this.#free.within(dirname(from), safeName(name), from);
      if (to !== from) await this.#move(row, to);
    }
    return this.#loras.update(id, { name });
  }

  /** Into the trash. Each that fails stays where it was. */
  async remove(ids: readonly number[], reach: Reach): Promise<{ removed: number[]; failed: FailedFile[] }> {
    const { done, failed } = await this.#each(ids, async (row) => {
      if (row.trashedAt !== null) return false;
      const from = fromStored(this.#database.folder, row.path);
      if (this.#mayMove(row, reach) && (await isFile(from))) {
        await this.#move(row, join(trashFolder(this.#database.folder), String(row.id), basename(from)));
      } else this.#mark(row.id, this.#now());
      return true;
    });
    return { removed: done, failed };
  }

  /** Out of the trash, to where each was; if that name is taken now, to one beside it. */
  async undo(ids: readonly number[]): Promise<{ restored: number[]; failed: FailedFile[] }> {
    const { done, failed } = await this.#each(ids, async (row) => {
      if (row.trashedAt === null) return false;
      const from = fromStored(this.#database.folder, row.path);
      if (row.trashedFrom !== null && (await isFile(from))) {
        const home = fromStored(this.#database.folder, row.trashedFrom);
        const stem = basename(home).replace(/\.safetensors$/i, '');
        await this.#move(row, this.#free.isFree(home) ? home : this.#free.within(dirname(home), stem, from));
      } else this.#mark(row.id, null);
      return true;
    });
    return { restored: done, failed };
  }

  /** Removes what is in the trash for good. */
  async emptyTrash(): Promise<{ removed: number; failed: FailedFile[] }> {
    const ids = this.#database.all<{ id: number }>('SELECT id FROM loras WHERE trashed_at IS NOT NULL').map(({ id }) => id);
    const { done, failed } = await this.#each(ids, async (row) => {
      const file = fromStored(this.#database.folder, row.path);
      // Of one that was only forgotten the file is the user's.
      if (isTrash(row.path) && row.movingTo === null) {
        await removeLora(file);
        await rmdir(dirname(file)).catch(() => undefined);
      }
      this.#database.write(() => {
        this.#database.run('DELETE FROM loras_search WHERE rowid = ?', [row.id]);
        this.#database.run('DELETE FROM loras WHERE id = ?', [row.id]);
      });
      return true;
    });
    return { removed: done.length, failed };
  }

  async #each(ids: readonly number[], work: (row: LoraRow) => Promise<boolean>): Promise<{ done: number[]; failed: FailedFile[] }> {
    const done: number[] = [];
    const failed: FailedFile[] = [];
    for (const id of ids) {
      try {
        if (await work(this.#loras.row(id))) done.push(id);
      } catch (thrown) {
        const error = I2lError.from(thrown);
        failed.push({ file: String(error.fields['file'] ?? `LoRA ${id}`), error: error.toShape() });
      }
    }
    return { done, failed };
  }

  #mayMove({ path }: LoraRow, reach: Reach): boolean {
    return reach === 'all' || isStoredInside(path);
  }

  async #move(row: LoraRow, to: string): Promise<void> {
    this.#begin(row, to);
    try {
      await moveLora(fromStored(this.#database.folder, row.path), to);
    } catch (error) {
      this.#settle(row, undefined);
      throw error;
    }
    this.#settle(row, to);
  }

  /** One on its way into the trash is in it from now on. */
  #begin(row: LoraRow, to: string): void {
    const path = toStored(this.#database.folder, to);
    const trashedAt = isTrash(path) ? this.#now() : row.trashedAt;
    this.#database.write(() => this.#database.run(BEGIN, { id: row.id, path, pid: process.pid, trashedAt }));
  }

  /** @param to where the file is now; undefined if it was not moved, and then the row is as it was. */
  #settle(row: LoraRow, to: string | undefined): void {
    const path = to === undefined ? row.path : toStored(this.#database.folder, to);
    const [was, is] = [isTrash(row.path), isTrash(path)];
    const from = is ? (was ? row.trashedFrom : row.path) : null;
    this.#database.write(() => {
      this.#database.run(SETTLE, { id: row.id, path, from });
      if (!is) this.#database.run('UPDATE loras SET trashed_at = NULL WHERE id = ?', [row.id]);
    });
  }

  #mark(id: number, trashedAt: number | null): void {
    this.#database.write(() =>
      this.#database.run('UPDATE loras SET trashed_at = ?, trashed_from = NULL WHERE id = ?', [trashedAt, id]),
    );
  }

  async #recoverOne(row: LoraRow): Promise<void> {
    const from = fromStored(this.#database.folder, row.path);
    const to = fromStored(this.#database.folder, row.movingTo ?? row.path);
    const [isHere, isThere] = [await isFile(from), await isFile(to)];
    // Not there yet, or under both names at once.
    if (isHere && !(await isAnother(from, to))) {
      await moveLora(from, to);
      return this.#settle(row, to);
    }
    const arrived = isThere && (!isHere || (await contentOf(to)).sha256 === row.sha256);
    // Copied to another disk, and not yet taken away here.
    if (arrived && isHere) await removeLora(from);
    this.#settle(row, arrived ? to : undefined);
  }
}

function isTrash(stored: string): boolean {
  return stored.startsWith('trash/');
}

const BEGIN = 'UPDATE loras SET moving_to = :path, moving_pid = :pid, trashed_at = :trashedAt WHERE id = :id';
const SETTLE = `
  UPDATE loras SET path = :path, trashed_from = :from, moving_to = NULL, moving_pid = NULL WHERE id = :id`;
