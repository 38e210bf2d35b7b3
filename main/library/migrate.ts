import type Sqlite from 'better-sqlite3';
import { I2lError } from '../contract/errors.ts';

/** One step of the schema. Once released it never changes; the next change is the next step. */
export interface Migration {
  readonly version: number;
  /** Runs in a transaction, with foreign keys unchecked until its end. */
  readonly up: (database: Sqlite.Database) => void;
}

/** "i2LS": so that another program's database is not taken for ours. */
export const APPLICATION_ID = 0x69324c53;

/** What of the database's own numbers is known before it is touched. */
export interface SchemaState {
  readonly version: number;
  /** No table yet. */
  readonly fresh: boolean;
}

/**
 * @throws I2lError LIBRARY_NEWER if a later version of the app made it; LIBRARY_DAMAGED if it is none of ours
 */
export function schemaState(database: Sqlite.Database, latest: number): SchemaState {
  const version = numberOf(database, 'user_version');
  const tables = database.prepare<[], number>('SELECT count(*) FROM sqlite_schema').pluck().get() ?? 0;
  const file = database.name;
  if (tables > 0 && numberOf(database, 'application_id') !== APPLICATION_ID) {
    throw new I2lError('LIBRARY_DAMAGED', `${file}: it is not a library of i2L Studio; move it away.`, {
      file,
      reason: 'not-a-library',
    });
  }
  if (version > latest) {
    throw new I2lError('LIBRARY_NEWER', `${file}: a newer version of i2L Studio wrote it; update this one.`, {
      file,
      version,
      latest,
    });
  }
  return { version, fresh: tables === 0 };
}

/** Runs the steps that are missing, each in its own transaction. @throws I2lError INTERNAL; the step left nothing behind */
export function migrate(database: Sqlite.Database, migrations: readonly Migration[]): void {
  // Can't be changed within a transaction, and a table that others refer to can't be remade with them on.
  database.pragma('foreign_keys = OFF');
  try {
    for (const { version, up } of migrations) {
      if (version > numberOf(database, 'user_version')) database.transaction(() => step(database, version, up)).immediate();
    }
  } finally {
    database.pragma('foreign_keys = ON');
  }
}

function step(database: Sqlite.Database, version: number, up: Migration['up']): void {
  up(database);
  const broken = database.pragma('foreign_key_check') as unknown[];
  if (broken.length > 0) {
    throw new I2lError('INTERNAL', `${database.name}: step ${version} of the tables would leave ${broken.length} rows without what they refer to.`); // prettier-ignore
  }
  database.pragma(`application_id = ${APPLICATION_ID}`);
  database.pragma(`user_version = ${version}`);
}

export function numberOf(database: Sqlite.Database, pragma: string): number {
  return Number(database.pragma(pragma, { simple: true }));
}
