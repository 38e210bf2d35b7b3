import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { I2lError } from '../contract/errors.ts';
import { listBackups, makeBackup } from './backup.ts';
import { FolderLock, type Role } from './folder-lock.ts';
import { integrityFaults } from './integrity.ts';
import { migrate, numberOf, schemaState, type Migration } from './migrate.ts';
import { MIGRATIONS } from './migrations/index.ts';
import { databaseError } from './sqlite-errors.ts';

export const DATABASE_NAME = 'library.db';

/** How long a statement waits for another process's write. It blocks this thread, and a write takes milliseconds. */
const BUSY_MS = 5000;
/** How long to wait for commands that are about to end. */
const WAIT_MS = 5000;
const TURN_MS = 100;

export interface OpenOptions {
  readonly role: Exclude<Role, 'alone'>;
  /** Of this process, for others that want the library: 'i2L Studio', 'i2l sets ls'. */
  readonly name: string;
  /** How long to wait for others, in milliseconds. */
  readonly waitMs?: number | undefined;
  readonly migrations?: readonly Migration[] | undefined;
}

type Value = string | number | bigint | Uint8Array | null;
/** Named (:name, or @name) or in order (?). */
export type Bindings = Readonly<Record<string, Value>> | readonly Value[];

export interface Change {
  readonly changes: number;
  /** Of the row that was inserted last. */
  readonly id: number;
}

/**
 * `library.db` of a data folder, open. Every statement of the library goes through here: it is prepared once,
 * and what SQLite throws comes out as an I2lError that names the file.
 */
export class Database {
  readonly folder: string;
  readonly #sqlite: Sqlite.Database;
  readonly #lock: FolderLock;
  readonly #statements = new Map<string, Sqlite.Statement<unknown[]>>();
  readonly #version: number;

  private constructor(folder: string, sqlite: Sqlite.Database, lock: FolderLock) {
    this.folder = folder;
    this.#sqlite = sqlite;
    this.#lock = lock;
    this.#version = numberOf(sqlite, 'user_version');
  }

  /**
   * Opens a data folder's library, makes it if there is none, and brings its tables up to date; a backup is
   * made before, and nobody else may have it open meanwhile.
   * @throws I2lError LIBRARY_IN_USE, LIBRARY_DAMAGED, LIBRARY_NEWER, DISK_FULL, FILE_WRITE_FAILED
   */
  static async open(folder: string, options: OpenOptions): Promise<Database> {
    const { role, name, waitMs = WAIT_MS, migrations = MIGRATIONS } = options;
    const lock = await FolderLock.take(folder, role, name, waitMs);
    const file = join(folder, DATABASE_NAME);
    let sqlite: Sqlite.Database | undefined;
    try {
      const existed = existsSync(file);
      sqlite = connect(file);
      await bringUpToDate(sqlite, lock, { folder, role, waitMs, migrations, existed });
      return new Database(folder, sqlite, lock);
    } catch (error) {
      sqlite?.close();
      await lock.release();
      throw databaseError(file, error);
    }
  }

  get file(): string {
    return this.#sqlite.name;
  }

  get version(): number {
    return this.#version;
  }

  get isOwner(): boolean {
    return this.#lock.role === 'owner';
  }

  all<Row>(sql: string, parameters: Bindings = []): Row[] {
    return this.#guard(() => this.#prepare(sql).all(parameters) as Row[]);
  }

  get<Row>(sql: string, parameters: Bindings = []): Row | undefined {
    return this.#guard(() => this.#prepare(sql).get(parameters) as Row | undefined);
  }

  run(sql: string, parameters: Bindings = []): Change {
    const { changes, lastInsertRowid } = this.#guard(() => this.#prepare(sql).run(parameters));
    return { changes, id: Number(lastInsertRowid) };
  }

  /**
   * All of `work` or nothing of it, on the disk when this returns. Within another write it is a part of that one.
   * @throws I2lError LIBRARY_BUSY, LIBRARY_NEWER, DISK_FULL, and what `work` throws
   */
  write<T>(work: () => T): T {
    const checked = (): T => {
      this.#checkVersion();
      return work();
    };
    return this.#guard(() => this.#sqlite.transaction(checked).immediate());
  }

  /** `work` sees one state of the library, whatever others write meanwhile. */
  snapshot<T>(work: () => T): T {
    return this.#guard(() => this.#sqlite.transaction(work).deferred());
  }

  /** For what works on the whole file: backup, check. */
  raw<T>(work: (sqlite: Sqlite.Database) => T): T {
    return this.#guard(() => work(this.#sqlite));
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    try {
      if (this.#sqlite.open) this.#sqlite.pragma('optimize');
    } catch {
      // Statistics for the planner need room on the disk; they can wait for another day.
    } finally {
      this.#sqlite.close();
      await this.#lock.release();
    }
  }

  #prepare(sql: string): Sqlite.Statement<unknown[]> {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#sqlite.prepare<unknown[]>(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw databaseError(this.#sqlite.name, error);
    }
  }

  /** A later version may have changed the tables since they were opened; this one would write wrongly. */
  #checkVersion(): void {
    const now = this.#prepare('SELECT user_version FROM pragma_user_version').get() as { user_version: number };
    if (now.user_version === this.#version) return;
    throw new I2lError('LIBRARY_NEWER', `${this.file}: another version of i2L Studio has changed it; start this one again.`, {
      file: this.file,
      version: now.user_version,
    });
  }
}

function connect(file: string): Sqlite.Database {
  const sqlite = new Sqlite(file, { timeout: BUSY_MS });
  try {
    // First: on a damaged file it is what fails. Readers and one writer go side by side with a write-ahead log.
    sqlite.pragma('journal_mode = WAL');
    sqlite.pragma('synchronous = FULL');
    sqlite.pragma('foreign_keys = ON');
    sqlite.pragma('trusted_schema = OFF');
    sqlite.pragma('cell_size_check = ON');
    sqlite.pragma(`journal_size_limit = ${64 * 2 ** 20}`);
    return sqlite;
  } catch (error) {
    sqlite.close();
    throw error;
  }
}

interface Upgrade {
  readonly folder: string;
  readonly role: OpenOptions['role'];
  readonly waitMs: number;
  readonly migrations: readonly Migration[];
  readonly existed: boolean;
}

/** Alone in the library; unless another process, which may then stay in it, does the same meanwhile. */
async function bringUpToDate(sqlite: Sqlite.Database, lock: FolderLock, upgrade: Upgrade): Promise<void> {
  const { role, waitMs, migrations } = upgrade;
  const latest = migrations.at(-1)?.version ?? 0;
  const until = performance.now() + waitMs;
  while (schemaState(sqlite, latest).version < latest) {
    try {
      await lock.become('alone', TURN_MS);
    } catch (error) {
      if (I2lError.from(error).code !== 'LIBRARY_IN_USE' || performance.now() >= until) throw error;
      continue;
    }
    await runUpgrade(sqlite, latest, upgrade);
  }
  if (lock.role !== role) await lock.become(role, waitMs);
}

async function runUpgrade(sqlite: Sqlite.Database, latest: number, { folder, migrations, existed }: Upgrade): Promise<void> {
  const { version, fresh } = schemaState(sqlite, latest);
  if (fresh) await refuseEmptied(sqlite.name, folder, existed);
  else if (version < latest) {
    const [fault] = integrityFaults(sqlite, true);
    if (fault !== undefined) throw damaged(sqlite.name, fault);
    await makeBackup(sqlite, folder);
  }
  migrate(sqlite, migrations);
}

function damaged(file: string, fault: string): I2lError {
  const message = `${file}: it is damaged (${fault}); go back to a backup with 'i2l library restore'.`;
  return new I2lError('LIBRARY_DAMAGED', message, { file, fault });
}

/** A file with nothing in it, beside backups of a library, is a library that was lost: a new one would hide that. */
async function refuseEmptied(file: string, folder: string, existed: boolean): Promise<void> {
  if (!existed || (await listBackups(folder)).length === 0) return;
  throw new I2lError(
    'LIBRARY_DAMAGED',
    `${file}: it is empty, and there are backups; go back to one with 'i2l library restore', or remove the file to start anew.`,
    { file, reason: 'library-emptied' },
  );
}
