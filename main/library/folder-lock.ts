import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { z } from 'zod';
import { fileError, I2lError } from '../contract/errors.ts';
import { publishOver, writePart } from '../weights/atomic-copy.ts';
import { isAlive } from '../weights/stale-files.ts';
import { databaseError, isBusy } from './sqlite-errors.ts';

/**
 * Who may do what with a data folder, among all processes of the machine:
 *
 * - 'guest': reads the library and writes to it, under SQLite's own locks. Any number.
 * - 'owner': what a guest may, and runs the queue. One, beside any number of guests.
 * - 'alone': changes the tables or replaces the file. One, and nobody else at all.
 *
 * These are the three locks that SQLite takes on a file with a rollback journal: shared, reserved, exclusive.
 * So an empty database, `library.lock`, carries them, and the operating system releases them when a process
 * dies, however it dies. Nothing but SQLite may open that file in this process: POSIX drops all of a
 * process's locks on a file when any of its handles is closed. Hence the owner's name lies beside it.
 */
export type Role = 'guest' | 'owner' | 'alone';

const BEGIN: Readonly<Record<Role, string>> = { guest: 'BEGIN', owner: 'BEGIN IMMEDIATE', alone: 'BEGIN EXCLUSIVE' };
const STEP_MS = 25;

const holderSchema = z.object({ pid: z.int().positive(), name: z.string(), since: z.string() });
type Holder = z.infer<typeof holderSchema>;

export class FolderLock {
  readonly #folder: string;
  readonly #name: string;
  readonly #database: Sqlite.Database;
  #role: Role | undefined;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
    const file = join(folder, 'library.lock');
    try {
      this.#database = new Sqlite(file, { timeout: 0 });
    } catch (error) {
      throw databaseError(file, error);
    }
  }

  /**
   * @param name of this process, for those who wait, e.g. 'i2L Studio'
   * @param waitMs how long to wait for others
   * @throws I2lError LIBRARY_IN_USE that says who has it; FILE_WRITE_FAILED
   */
  static async take(folder: string, role: Role, name: string, waitMs: number): Promise<FolderLock> {
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw fileError(folder, 'write', error);
    });
    const lock = new FolderLock(folder, name);
    try {
      await lock.become(role, waitMs);
      return lock;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get role(): Role | undefined {
    return this.#role;
  }

  /** Changes the role; for a moment there is none, and if it can't be had there is none after. @throws I2lError LIBRARY_IN_USE */
  async become(role: Role, waitMs: number): Promise<void> {
    await this.#leave();
    const until = performance.now() + waitMs;
    while (!this.#tryBegin(role)) {
      if (performance.now() >= until) throw await this.#inUse(role);
      await sleep(STEP_MS);
    }
    this.#role = role;
    if (role !== 'guest') await this.#writeHolder();
  }

  /** Safe to call twice. */
  async release(): Promise<void> {
    await this.#leave();
    this.#database.close();
  }

  async #leave(): Promise<void> {
    const role = this.#role;
    this.#role = undefined;
    // Before the lock goes, so that it is not the next holder's.
    if (role !== undefined && role !== 'guest') await rm(this.#holderFile, { force: true }).catch(() => undefined);
    if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
  }

  #tryBegin(role: Role): boolean {
    try {
      this.#database.exec(BEGIN[role]);
      // A plain BEGIN locks nothing before the first read.
      this.#database.prepare('SELECT count(*) FROM sqlite_schema').get();
      return true;
    } catch (error) {
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
      if (isBusy(error)) return false;
      throw databaseError(this.#database.name, error);
    }
  }

  get #holderFile(): string {
    return join(this.#folder, 'library.owner.json');
  }

  async #writeHolder(): Promise<void> {
    const holder: Holder = { pid: process.pid, name: this.#name, since: new Date().toISOString() };
    await publishOver(await writePart(this.#holderFile, `${JSON.stringify(holder)}\n`));
  }

  async #inUse(wanted: Role): Promise<I2lError> {
    const holder = await this.#readHolder();
    const who = holder ? `${holder.name} (process ${holder.pid}, since ${holder.since})` : 'another command of i2L';
    const sentence = wanted === 'alone' && !holder ? 'wait until it has ended' : 'close it, or wait until it has ended';
    const fields = { folder: this.#folder, ...(holder ? { pid: holder.pid, name: holder.name } : {}) };
    return new I2lError('LIBRARY_IN_USE', `${this.#folder}: the library is in use by ${who}; ${sentence}.`, fields);
  }

  /** None if nobody wrote it, or whoever did has died meanwhile. */
  async #readHolder(): Promise<Holder | undefined> {
    try {
      const holder = holderSchema.parse(JSON.parse(await readFile(this.#holderFile, 'utf8')));
      return isAlive(holder.pid) ? holder : undefined;
    } catch {
      return undefined;
    }
  }
}
