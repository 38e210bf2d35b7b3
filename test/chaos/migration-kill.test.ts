import { spawn } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { beforeAll, expect, test } from 'vitest';
import { listBackups } from '../../main/library/backup.ts';
import { Database } from '../../main/library/database.ts';
import { MIGRATIONS } from '../../main/library/migrations/index.ts';
import { tempFolder } from '../unit/temp.ts';

/**
 * A process that brings an old library up to date is killed at moments spread over its work, the backup before it
 * among them: the next one finishes it, with all that was in it. I2L_KILLS sets how often; npm run test:chaos does it
 * a hundred times.
 */
const KILLS = Number(process.env['I2L_KILLS'] ?? 4);
const EARLIER_KILLS = 6;
const OLD_VERSION = 2;
const ROWS = 4000;

const base = tempFolder();
const template = join(base, 'old');
const open = (folder: string, migrations = MIGRATIONS): Promise<Database> =>
  Database.open(folder, { role: 'owner', name: 'a test', waitMs: 0, migrations });

beforeAll(async () => {
  const old = await open(template, MIGRATIONS.slice(0, OLD_VERSION));
  old.write(() => {
    for (let i = 0; i < ROWS; i++) {
      const values = { name: `fox ${i}`, path: `loras/${i}`, notes: `notes of ${i} `.repeat(20) };
      old.run("INSERT INTO sets (name, sort_name, notes, storage, created_at, updated_at) VALUES (:name, :name, :notes, 'copied', 0, 0)", { name: values.name, notes: values.notes }); // prettier-ignore
      old.run(
        `INSERT INTO loras (name, sort_name, path, bytes, mtime_ms, sha256, tensor_hash, target, rank_min, rank_max, dtype, key_form,
           modules, warning, made_from, image_count, rating, favourite, notes, trigger_words, default_strength, recipe, added_at,
           updated_at, missing)
         VALUES (:name, :name, :path, 1, 1, '', '', '', 1, 1, '', '', 1, '', '{}', 1, 3, 0, :notes, '[]', 1, '', 1, 1, 0)`,
        values,
      );
    }
  });
  await old.close();
});

/** Starts a process that opens the library, which migrates it. @param ms when it is killed; absent: when it has it open */
async function migrateIn(folder: string, ms?: number): Promise<{ readonly ms: number; readonly isOpen: boolean }> {
  const script = new URL('../library/open-in-turn.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, folder, 'owner'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const started = performance.now();
  let said = '';
  const opened = new Promise<void>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      said += data.toString();
      resolve();
    });
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await (ms === undefined ? opened : Promise.race([sleep(ms), ended]));
  const took = performance.now() - started;
  child.kill('SIGKILL');
  await ended;
  return { ms: took, isOpen: said.includes('open') };
}

function versionOf(folder: string): number {
  const sqlite = new Sqlite(join(folder, 'library.db'));
  const version = Number(sqlite.pragma('user_version', { simple: true }));
  sqlite.close();
  return version;
}

async function expectWhole(folder: string): Promise<void> {
  const now = await open(folder);
  try {
    expect(now.version).toBe(MIGRATIONS.length);
    expect(now.raw((sqlite) => sqlite.pragma('integrity_check', { simple: true }))).toBe('ok');
    expect(now.raw((sqlite) => sqlite.pragma('foreign_key_check'))).toEqual([]);
    for (const table of ['sets', 'loras', 'lora_texts']) expect(now.get(`SELECT count(*) AS n FROM ${table}`)).toEqual({ n: ROWS });
    expect(now.get("SELECT notes FROM lora_texts JOIN loras ON id = lora_id WHERE name = 'fox 7'")).toEqual({ notes: 'notes of 7 '.repeat(20) }); // prettier-ignore
  } finally {
    await now.close();
  }
}

test(`a migration that is killed ${KILLS} times is finished by the next process, with all rows`, { timeout: 30_000 + 4_000 * (KILLS + EARLIER_KILLS) }, async () => {
  const whole = join(base, 'whole');
  cpSync(template, whole, { recursive: true });
  const { ms, isOpen } = await migrateIn(whole);
  expect(isOpen).toBe(true);
  await expectWhole(whole);
  const left = new Set<number>();
  // On a machine that was busy during the whole one only, all are too late: then earlier ones.
  for (let kill = 0; kill < KILLS || (!left.has(OLD_VERSION) && kill < KILLS + EARLIER_KILLS); kill++) {
    const folder = join(base, `killed ${kill}`);
    cpSync(template, folder, { recursive: true });
    // The first half is the process's own start: nothing happens to the library in it.
    await migrateIn(folder, ms * (kill < KILLS ? 0.4 + (0.6 * (kill + 0.5)) / KILLS : 0.4 * 0.8 ** (kill - KILLS)));
    left.add(versionOf(folder));
    await expectWhole(folder);
    for (const { path } of await listBackups(folder)) {
      const copy = new Sqlite(path, { readonly: true });
      expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
      expect(copy.prepare('SELECT count(*) FROM loras').pluck().get()).toBe(ROWS);
      copy.close();
    }
    rmSync(folder, { recursive: true });
  }
  // Else the moments missed the migration, and nothing was shown.
  expect(left).toContain(OLD_VERSION);
}); // prettier-ignore
