import Sqlite from 'better-sqlite3';

const MOST_FAULTS = 100;

/**
 * What is wrong within a database, one sentence each; none if it is sound.
 * @param quick leaves out whether indexes agree with their tables
 */
export function integrityFaults(database: Sqlite.Database, quick = false): string[] {
  const check = quick ? 'quick_check' : 'integrity_check';
  try {
    const found = database.pragma(`${check}(${MOST_FAULTS})`) as Readonly<Record<string, string>>[];
    const faults = found.map((row) => row[check] ?? '').filter((fault) => fault !== 'ok');
    const orphans = database.pragma('foreign_key_check') as { table: string; rowid: number | null; parent: string }[];
    const lost = orphans.map(({ table, rowid, parent }) => `a row of ${table} (${rowid ?? '?'}) refers to none of ${parent}`);
    return [...faults, ...lost].slice(0, MOST_FAULTS);
  } catch (error) {
    // Damage can stop the check itself.
    if (error instanceof Sqlite.SqliteError && /^SQLITE_(CORRUPT|NOTADB)/.test(error.code)) return [error.message];
    throw error;
  }
}
