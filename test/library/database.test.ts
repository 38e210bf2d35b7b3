import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import { Database, type OpenOptions } from '../../main/library/database.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { backupFolder, listBackups, makeBackup, MOST_BACKUPS } from '../../main/library/backup.ts';
import type { Migration } from '../../main/library/migrate.ts';
import { MIGRATIONS } from '../../main/library/migrations/index.ts';
import { expectRefusal, rejectionOf, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let count = 0;
const folderOf = (): string => join(base, `library ${count++} ünïcode`);
const opened: Database[] = [];

async function open(folder: string, options: Partial<OpenOptions> = {}): Promise<Database> {
  const database = await Database.open(folder, { role: 'owner', name: 'a test', waitMs: 0, ...options });
  opened.push(database);
  return database;
}

afterEach(async () => {
  for (const database of opened.splice(0)) await database.close();
});

const addSet = (database: Database, name: string): number =>
  database.write(
    () =>
      database.run(
        "INSERT INTO sets (name, sort_name, notes, storage, created_at, updated_at) VALUES (:name, :name, '', 'copied', 0, 0)",
        { name },
      ).id,
  );
const setNames = (database: Database): string[] =>
  database.all<{ name: string }>('SELECT name FROM sets ORDER BY id').map(({ name }) => name);

describe('a data folder', () => {
  test('is made, opened again with what was in it, and leaves one file of the database when closed', async () => {
    const folder = folderOf();
    const first = await open(folder);
    expect(first.version).toBe(MIGRATIONS.length);
    addSet(first, 'sea');
    await first.close();
    expect(readdirSync(folder).sort()).toEqual(['library.db', 'library.lock']);
    expect(setNames(await open(folder))).toEqual(['sea']);
  });

  test('holds what it must: WAL, flushed at every commit, foreign keys, strict tables', async () => {
    const database = await open(folderOf());
    const pragma = (name: string): unknown => database.raw((sqlite) => sqlite.pragma(name, { simple: true }));
    expect([pragma('journal_mode'), pragma('synchronous'), pragma('foreign_keys')]).toEqual(['wal', 2, 1]);
    const loose = database.all("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict AND name NOT LIKE 'sqlite_%'"); // prettier-ignore
    expect(loose).toEqual([]);
    expect(thrownBy(() => database.run("INSERT INTO set_images VALUES (7, 'x', 0, 1, '', 'copied', '', 0, 0)")).fields['sqlite']).toMatch(/FOREIGNKEY/); // prettier-ignore
  });

  test('a write is all or nothing, and one within another is a part of it', async () => {
    const database = await open(folderOf());
    const failing = (): void =>
      database.write(() => {
        addSet(database, 'a');
        throw new Error('stop');
      });
    expect(failing).toThrow('stop');
    expect(setNames(database)).toEqual([]);
    database.write(() => {
      addSet(database, 'b');
      expect(failing).toThrow('stop');
    });
    expect(setNames(database)).toEqual(['b']);
  });
});

interface Other {
  readonly process: ChildProcess;
  readonly said: string;
}

async function other(folder: string, role: string, waitMs = 0): Promise<Other> {
  const script = new URL('open-in-turn.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, folder, role, String(waitMs)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const said = await new Promise<string>((resolve) => {
    child.stdout.once('data', (data: Buffer) => resolve(data.toString().trim()));
    child.once('exit', () => resolve('ended'));
  });
  return { process: child, said };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once('exit', resolve));
}

describe('two processes', () => {
  test('a second owner is told who the first is; guests come and go; a killed owner holds nothing', async () => {
    const folder = folderOf();
    const first = await other(folder, 'owner');
    expect(first.said).toBe('open');
    const error = await rejectionOf(open(folder));
    expect(error.code).toBe('LIBRARY_IN_USE');
    expect(error.fields).toMatchObject({ folder, pid: first.process.pid, name: 'test owner' });
    expect(error.message).toContain(`test owner (process ${first.process.pid}`);

    const guest = await open(folder, { role: 'guest' });
    addSet(guest, 'by a guest');
    expect(guest.isOwner).toBe(false);

    first.process.kill('SIGKILL');
    await ended(first.process);
    const second = await open(folder);
    expect(second.isOwner).toBe(true);
    expect(setNames(second)).toEqual(['by a guest']);
    const third = await other(folder, 'owner');
    expect(JSON.parse(third.said)).toMatchObject({ code: 'LIBRARY_IN_USE', message: expect.stringContaining(`process ${process.pid}`) }); // prettier-ignore
  });

  test('an owner within its patience gets the library once the other has closed it', async () => {
    const folder = folderOf();
    const first = await other(folder, 'owner');
    setTimeout(() => first.process.stdin?.end(), 100);
    expect((await open(folder, { waitMs: 10_000 })).isOwner).toBe(true);
  });

  test('six that make the same library at once all get it', async () => {
    const folder = folderOf();
    const others = await Promise.all(Array.from({ length: 6 }, () => other(folder, 'guest', 20_000)));
    expect(others.map(({ said }) => said)).toEqual(Array(6).fill('open'));
    for (const { process } of others) process.stdin?.end();
    await Promise.all(others.map(({ process }) => ended(process)));
    expect((await open(folder)).version).toBe(MIGRATIONS.length);
  });
});

/** As versions 1 and 2 kept it. */
const OLD_LORA = `
  INSERT INTO loras (name, sort_name, path, bytes, mtime_ms, sha256, tensor_hash, target, rank_min, rank_max, dtype, key_form,
    modules, warning, made_from, image_count, rating, favourite, notes, trigger_words, default_strength, recipe, added_at,
    updated_at, missing)
  VALUES ('fox', 'fox', 'loras/fox', 1, 1, '', '', '', 1, 1, '', '', 1, '', '{}', 1, 3, 0, 'mine', '[]', 1, '', 1, 1, 0)`;

/** As versions 3 and 4 kept it; number 50 says that it is of random weights. */
const OLD_EXPERTS = [
  ...[50, 51].map(
    (id) => `
  INSERT INTO loras (id, name, sort_name, path, bytes, mtime_ms, sha256, tensor_hash, target, rank_min, rank_max, dtype, key_form,
    modules, warning, image_count, rating, favourite, trigger_words, default_strength, recipe, added_at, updated_at, missing)
  VALUES (${id}, '', '', 'loras/${id}', 1, 1, '', '', '', 1, 1, '', '', 1, '${id === 50 ? 'random' : ''}', 1, 3, 0, '[]', 1, '', 1, 1, 0)`,
  ),
  `INSERT INTO lora_experts (lora_id, position, expert, fingerprint, strength) VALUES
    (50, 0, 'z-image-i2l-style', '', 1), (50, 1, 'qwen-image-i2l-bias', '', 1), (50, 2, 'i2l', '', 1)`,
];

/** As versions 2 to 6 kept it. */
const OLD_LINE = [
  `INSERT INTO jobs (id, kind, lane, title, input, state, priority, position, attempts, crashes, created_at, run_seconds)
   VALUES (1, 'create', 'engine', 'Sea', '{}', 'done', 0, 1, 1, 0, 1, 1)`,
  "INSERT INTO job_log (job_id, at, text) VALUES (1, 5, 'a.png: rotated.')",
];

const extra: Migration = {
  version: MIGRATIONS.length + 1,
  up: (database) => database.exec('CREATE TABLE extra (a INTEGER) STRICT; INSERT INTO extra SELECT count(*) FROM sets'),
};

describe('migrations', () => {
  test('are numbered without a gap', () => {
    expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, i) => i + 1));
  });

  test('from every earlier version, with data in it, leave a sound library with that data', async () => {
    for (const { version } of MIGRATIONS) {
      const folder = folderOf();
      const old = await open(folder, { migrations: MIGRATIONS.slice(0, version) });
      addSet(old, `from ${version}`);
      if (version < 3) old.run(OLD_LORA);
      const hasExperts = version === 3 || version === 4;
      if (hasExperts) for (const sql of OLD_EXPERTS) old.run(sql);
      const hasLine = version >= 2 && version < 7;
      if (hasLine) for (const sql of OLD_LINE) old.run(sql);
      await old.close();
      const now = await open(folder);
      if (hasLine) expect(new LibraryJobs(now).log(1)).toEqual([{ at: 5, text: 'a.png: rotated.' }]);
      if (version < 3) expect(now.all('SELECT * FROM lora_texts')).toEqual([{ lora_id: 1, notes: 'mine', made_from: '{}' }]);
      if (version < 3) expect(now.all('SELECT name, rating FROM loras')).toEqual([{ name: 'fox', rating: 3 }]);
      if (hasExperts) {
        expect(now.all('SELECT expert, role FROM lora_experts ORDER BY position')).toEqual([
          { expert: 'z-image-i2l-style', role: 'style' },
          { expert: 'qwen-image-i2l-bias', role: 'bias' },
          { expert: 'i2l', role: null },
        ]);
        expect(now.all('SELECT id, synthetic FROM loras WHERE id > 1 ORDER BY id')).toEqual([
          { id: 50, synthetic: 1 },
          { id: 51, synthetic: 0 },
        ]);
      }
      expect(now.version).toBe(MIGRATIONS.length);
      expect(setNames(now)).toEqual([`from ${version}`]);
      expect(now.raw((sqlite) => sqlite.pragma('integrity_check', { simple: true }))).toBe('ok');
      expect(now.raw((sqlite) => sqlite.pragma('foreign_key_check'))).toEqual([]);
    }
  });

  test('make a backup first, of the tables as they were', async () => {
    const folder = folderOf();
    await (await open(folder)).close();
    expect(existsSync(backupFolder(folder))).toBe(false);
    const old = await open(folder);
    addSet(old, 'kept');
    await old.close();
    const now = await open(folder, { migrations: [...MIGRATIONS, extra] });
    expect(now.get('SELECT a FROM extra')).toEqual({ a: 1 });
    const [backup] = await listBackups(folder);
    const copy = new Sqlite(backup!.path, { readonly: true });
    expect(copy.prepare('SELECT name FROM sets').pluck().all()).toEqual(['kept']);
    expect(copy.pragma('user_version', { simple: true })).toBe(MIGRATIONS.length);
    copy.close();
  });

  test('a step that fails or leaves a row without its parent is undone, and the library opens as before', async () => {
    const folder = folderOf();
    const before = await open(folder);
    addSet(before, 'kept');
    await before.close();
    const orphan = "INSERT INTO set_images VALUES (99, 'x', 0, 1, '', 'copied', '', 0, 0)";
    for (const sql of ['CREATE TABLE half (a INTEGER); SELECT nothing FROM nowhere', orphan]) {
      const failing: Migration = { version: extra.version, up: (database) => database.exec(sql) };
      await rejectionOf(open(folder, { migrations: [...MIGRATIONS, failing] }));
      const after = await open(folder);
      expect(after.version).toBe(MIGRATIONS.length);
      expect(setNames(after)).toEqual(['kept']);
      expect(after.all("SELECT name FROM sqlite_schema WHERE name = 'half'")).toEqual([]);
      await after.close();
    }
  });

  test('a newer library is refused, and so is the next write of a version that it overtook', async () => {
    const folder = folderOf();
    const overtaken = await open(folder, { role: 'guest' });
    expect((await rejectionOf(open(folder, { role: 'guest', migrations: [...MIGRATIONS, extra] }))).code).toBe('LIBRARY_IN_USE');
    overtaken.raw((sqlite) => sqlite.pragma(`user_version = ${extra.version}`));
    const error = thrownBy(() => addSet(overtaken, 'late'));
    expect(error.code).toBe('LIBRARY_NEWER');
    expect(setNames(overtaken)).toEqual([]);
    await overtaken.close();
    expectRefusal(await rejectionOf(open(folder)), 'LIBRARY_NEWER', join(folder, 'library.db'), /update/);
  });
});

describe('backups', () => {
  test('are sound copies, numbered upwards even if the clock is moved back, the oldest removed', async () => {
    const folder = folderOf();
    const database = await open(folder);
    addSet(database, 'one');
    const year = (number: number): Date => new Date(`${2030 - number}-01-01T00:00:00Z`);
    for (let i = 0; i < MOST_BACKUPS + 2; i++) await database.raw((sqlite) => makeBackup(sqlite, folder, year(i)));
    const backups = await listBackups(folder);
    expect(backups.map(({ number }) => number)).toEqual(Array.from({ length: MOST_BACKUPS }, (_, i) => MOST_BACKUPS + 2 - i));
    expect(backups[0]!.path).toContain('2019-01-01');
    expect(readdirSync(backupFolder(folder))).toHaveLength(MOST_BACKUPS);
  });
});

describe('a damaged library', () => {
  const damaged = async (damage: (file: string) => void): Promise<{ folder: string; file: string }> => {
    const folder = folderOf();
    const database = await open(folder);
    database.write(() => {
      for (let i = 0; i < 500; i++) addSet(database, `set ${i} ${'x'.repeat(300)}`);
    });
    await database.raw((sqlite) => makeBackup(sqlite, folder));
    await database.close();
    const file = join(folder, 'library.db');
    damage(file);
    return { folder, file };
  };

  test.each<[string, (file: string) => void]>([
    ['garbage', (file) => writeFileSync(file, Buffer.alloc(20_000, 'garbage'))],
    ['cut off', (file) => truncateSync(file, 40_000)],
    ['a text', (file) => writeFileSync(file, 'not a database')],
    ['emptied', (file) => truncateSync(file, 0)],
    ['a wiped header', (file) => writeFileSync(file, Buffer.alloc(100).toString('latin1') + readFileSync(file).subarray(100).toString('latin1'), 'latin1')], // prettier-ignore
  ])('%s: the file and the way back are named', async (_, damage) => {
    const { folder, file } = await damaged(damage);
    expectRefusal(await rejectionOf(open(folder)), 'LIBRARY_DAMAGED', file, /i2l library restore/);
  });

  test("another program's database is not touched", async () => {
    const folder = folderOf();
    await (await open(folder)).close();
    const file = join(folder, 'library.db');
    writeFileSync(file, '');
    const foreign = new Sqlite(file);
    foreign.exec('CREATE TABLE theirs (a)');
    foreign.close();
    expectRefusal(await rejectionOf(open(folder)), 'LIBRARY_DAMAGED', file, /not a library/);
  });

  test('damage found before a migration stops it', async () => {
    const { folder, file } = await damaged((path) => {
      const bytes = readFileSync(path);
      bytes.fill(0xff, 60_000, 90_000);
      writeFileSync(path, bytes);
    });
    expectRefusal(await rejectionOf(open(folder, { migrations: [...MIGRATIONS, extra] })), 'LIBRARY_DAMAGED', file, /damaged/);
  });
});
