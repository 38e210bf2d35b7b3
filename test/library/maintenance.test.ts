import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { createRouterClient } from '@orpc/server';
import { libraryRouter } from '../../main/handlers/library.ts';
import { openPath } from '../../main/handlers/sets.ts';
import { restoreLibrary } from '../../main/library/restore.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { rejectionOf, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { makeImages } from './make-images.ts';
import { makeLora } from './make-loras.ts';
import { openLibrary } from './open-library.ts';

const base = tempFolder();
let count = 0;
const fresh = (): string => join(base, `${count++}`);
const me = { name: 'a test', waitMs: 0 };

describe('backup and restore', () => {
  test('a backup becomes the library again, and the old file is kept', async () => {
    const folder = fresh();
    const library = await openLibrary(folder);
    library.sets.create({ name: 'before' });
    const backup = await library.maintenance.backup();
    const elsewhere = await library.maintenance.backup(join(base, 'elsewhere.db'));
    expect((await rejectionOf(library.maintenance.backup(elsewhere))).code).toBe('FILE_WRITE_FAILED');
    library.sets.create({ name: 'after' });
    expect((await rejectionOf(restoreLibrary(folder, backup, me))).code).toBe('LIBRARY_IN_USE');
    await library.close();

    const kept = await restoreLibrary(folder, elsewhere, me);
    const names = (path: string): unknown[] => {
      const copy = new Sqlite(path);
      const found = copy.prepare('SELECT name FROM sets ORDER BY id').pluck().all();
      copy.close();
      return found;
    };
    expect(names(kept!)).toEqual(['before', 'after']);
    const again = await openLibrary(folder);
    expect(again.sets.list().sets.map(({ name }) => name)).toEqual(['before']);
    expect((await again.maintenance.info()).backups).toEqual([backup]);
  });

  test.each(['garbage', 'cut off', 'emptied', 'gone'])(
    'a library that is %s is replaced, its log is not played into the new one',
    async (how) => {
      const folder = fresh();
      const library = await openLibrary(folder);
      library.sets.create({ name: 'before' });
      const backup = await library.maintenance.backup();
      await library.close();
      const file = join(folder, 'library.db');
      if (how === 'garbage') writeFileSync(file, Buffer.alloc(9000, 'x'));
      if (how === 'cut off') truncateSync(file, 5000);
      if (how === 'emptied') truncateSync(file, 0);
      if (how === 'gone') rmSync(file);
      writeFileSync(`${file}-wal`, 'an old log');
      const kept = await restoreLibrary(folder, backup, me);
      if (how === 'gone') expect(kept).toBe(undefined);
      else expect(existsSync(kept!)).toBe(true);
      if (how !== 'gone') expect(readFileSync(`${kept}-wal`, 'utf8')).toBe('an old log');
      const again = await openLibrary(folder);
      expect(again.sets.list().sets.map(({ name }) => name)).toEqual(['before']);
      expect((await again.maintenance.check()).faults).toEqual([]);
    },
  );

  test('what is no sound backup is refused, and nothing changes', async () => {
    const folder = fresh();
    const library = await openLibrary(folder);
    library.sets.create({ name: 'kept' });
    const good = await library.maintenance.backup();
    await library.close();
    const bad = (name: string, bytes: Buffer): string => {
      const file = join(base, `${count}-${name}.db`);
      writeFileSync(file, bytes);
      return file;
    };
    const bytes = readFileSync(good);
    const theirs = bad('theirs', Buffer.alloc(0));
    const other = new Sqlite(theirs);
    other.exec('CREATE TABLE t (a)');
    other.close();
    const newer = bad('newer', bytes);
    const later = new Sqlite(newer);
    later.pragma('user_version = 999');
    later.close();
    for (const [file, code] of [
      [bad('garbage', Buffer.alloc(9000, 'x')), 'LIBRARY_DAMAGED'],
      [bad('half', bytes.subarray(0, bytes.length / 2)), 'LIBRARY_DAMAGED'],
      [bad('empty', Buffer.alloc(0)), 'LIBRARY_DAMAGED'],
      [theirs, 'LIBRARY_DAMAGED'],
      [newer, 'LIBRARY_NEWER'],
      [join(base, 'no.db'), 'FILE_NOT_FOUND'],
    ] as const) {
      const error = await rejectionOf(restoreLibrary(folder, file, me));
      expect([error.code, error.fields['file']], error.message).toEqual([code, file]);
      expect(error.message).toContain(file);
    }
    expect(readdirSync(folder).filter((name) => name.includes('part'))).toEqual([]);
    expect((await openLibrary(folder)).sets.list().sets.map(({ name }) => name)).toEqual(['kept']);
  });
});

test('a check finds what is gone and what is in no row', async () => {
  const folder = fresh();
  const library = await openLibrary(join(folder, 'data'));
  const lora = library.loras.add(makeLora(join(folder, 'a.safetensors'), 1));
  const files = await makeImages(join(folder, 'in'), 3);
  const { id } = library.sets.create({ name: 's' });
  await library.setImport.addImages(id, files);
  makeLora(join(folder, 'data', 'loras', 'stray.safetensors'), 2);
  const stray = join(folder, 'data', 'loras', 'stray.safetensors');
  expect(await library.maintenance.check()).toEqual({ faults: [], missingLoras: [], missingImages: [], unlisted: [stray] });
  rmSync(lora.file);
  rmSync(files[1]!);
  utimesSync(files[2]!, 3, 3);
  const found = await library.maintenance.check();
  expect(found).toMatchObject({ missingLoras: [{ id: lora.id, file: lora.file }], missingImages: [{ setId: id, file: files[1] }] });
  expect(library.loras.list({ missing: true }).total).toBe(1);
  expect(await library.maintenance.info()).toMatchObject({ sets: 1, images: 3, loras: 1, trashed: 0 });
});

test('emptying the trash takes copies that nothing uses, and no others', async () => {
  const folder = fresh();
  let now = 1e12;
  const library = await openLibrary(join(folder, 'data'), { now: () => now });
  const files = await makeImages(join(folder, 'in'), 4);
  const { id } = library.sets.create({ name: 's', storage: 'copied' });
  const { added } = await library.setImport.addImages(id, files);
  const [used, made, preview, free] = added as [string, string, string, string];
  const other = library.sets.create({ name: 'other' });
  await library.setImport.addImages(other.id, [files[0]!]);
  const madeFrom = { images: [{ hash: made, weight: 1, caption: '' }] };
  library.loras.add(makeLora(join(folder, 'a.safetensors'), 1), { madeFrom, preview });
  const client = createRouterClient(libraryRouter, { context: { library, allowPath: openPath } });
  library.sets.remove([id]);
  expect(await client.emptyTrash({})).toEqual({ sets: 1, loras: 0, images: 0, failed: [] });
  now += 2 * 3_600_000;
  expect(await client.emptyTrash({})).toMatchObject({ images: 1 });
  for (const hash of [used, made, preview]) expect(existsSync(await library.images.fileOf(hash))).toBe(true);
  expect((await rejectionOf(library.images.fileOf(free))).code).toBe('NOT_IN_LIBRARY');
  expect(await client.info({})).toMatchObject({ sets: 1, images: 3, loras: 1 });
  expect((await client.backup({})).file).toContain('backups');
});

test('killed at random moments, a library is sound, has all that was finished, and no LoRA is lost', async () => {
  const folder = fresh();
  const first = await openLibrary(folder);
  for (let i = 0; i < 3; i++) {
    const facts = makeLora(join(folder, 'loras', `lora ${i}.safetensors`), i);
    writeFileSync(facts.file.replace('.safetensors', '.txt'), `notes ${i}`);
    first.loras.add(facts);
  }
  await first.close();
  const script = new URL('write-on.ts', import.meta.url).pathname;
  const next = mulberry32(7);
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (data: Buffer) => (said += data.toString()));
    const ended = new Promise((resolve) => child.once('close', resolve));
    while (!said.includes('open')) await sleep(5);
    await sleep(next() * 150);
    child.kill('SIGKILL');
    await ended;
    const library = await openLibrary(folder);
    expect((await library.maintenance.check()).faults).toEqual([]);
    const finished = said.split('\n').slice(1, -1).map(Number);
    const names = new Map(library.database.all<{ id: number; name: string; notes: string }>('SELECT id, name, notes FROM sets').map((row) => [row.id, row])); // prettier-ignore
    for (const id of finished) expect(names.get(id)!.name).toMatch(/^changed/);
    // A write is whole or not at all.
    for (const { name, notes } of names.values()) expect(name.startsWith('changed')).toBe(notes.startsWith('changed'));
    const rows = [...library.loras.list().loras, ...library.loras.list({ trashed: true }).loras];
    expect(rows).toHaveLength(3);
    for (const { file, id } of rows) {
      expect(existsSync(file), file).toBe(true);
      expect(library.loras.row(id).movingTo).toBe(null);
      expect(readFileSync(file.replace('.safetensors', '.txt'), 'utf8')).toMatch(/^notes/);
    }
    await library.close();
  }
});

test('a library that another process keeps writing to says so', async () => {
  const folder = fresh();
  const library = await openLibrary(folder);
  library.database.raw((sqlite) => sqlite.pragma('busy_timeout = 50'));
  const other = new Sqlite(join(folder, 'library.db'));
  other.exec('BEGIN IMMEDIATE');
  const error = thrownBy(() => library.sets.create({ name: 'x' }));
  expect([error.code, error.fields['file']]).toEqual(['LIBRARY_BUSY', join(folder, 'library.db')]);
  expect(library.sets.list().total).toBe(0);
  other.exec('ROLLBACK');
  other.close();
  expect(library.sets.create({ name: 'x' }).id).toBe(1);
});

test('a full disk and a read-only one are told, and what was written stays', async (context) => {
  const [small, readOnly] = [join(base, 'small'), join(base, 'read-only')];
  try {
    for (const [path, options] of [
      [small, 'size=1m'],
      [readOnly, 'size=1m,ro'],
    ] as const) {
      // prettier-ignore
      mkdirSync(path);
      execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'pipe' });
    }
  } catch {
    return context.skip('disks can not be mounted here');
  }
  try {
    const library = await openLibrary(small);
    const notes = 'x'.repeat(20_000);
    const error = thrownBy(() => {
      for (let i = 0; i < 1000; i++) library.sets.create({ name: `set ${i}`, notes });
    });
    expect(error.code).toBe('DISK_FULL');
    const { total, sets } = library.sets.list();
    expect(total).toBeGreaterThan(0);
    expect(sets.every((set) => set.notes === notes)).toBe(true);
    expect((await library.maintenance.check()).faults).toEqual([]);
    await library.close();
    const refused = await rejectionOf(openLibrary(readOnly));
    expect(refused.code).toBe('FILE_WRITE_FAILED');
    expect(refused.message).toContain(readOnly);
  } finally {
    for (const path of [small, readOnly]) execFileSync('umount', ['-l', path], { stdio: 'pipe' });
  }
});
