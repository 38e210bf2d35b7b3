import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createRouterClient } from '@orpc/server';
import { expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { ChosenPaths } from '../../main/handlers/paths.ts';
import { openPath, setsRouter } from '../../main/handlers/sets.ts';
import { makeBroken, makeImages } from '../library/make-images.ts';
import { openLibrary } from '../library/open-library.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let count = 0;

async function client(allowPath: (path: string) => string = openPath) {
  const folder = join(base, `${count++}`);
  const library = await openLibrary(join(folder, 'data'));
  return { folder, library, sets: createRouterClient(setsRouter, { context: { library, allowPath } }) };
}

async function failure(work: Promise<unknown>): Promise<I2lError> {
  try {
    await work;
  } catch (error) {
    return errorFromWire(error);
  }
  return expect.unreachable('it was expected to fail');
}

async function collect<T>(stream: Promise<AsyncIterable<T>>): Promise<T[]> {
  const events: T[] = [];
  for await (const event of await stream) events.push(event);
  return events;
}

test('a set from its making to its end', async () => {
  const { sets, folder } = await client();
  const files = await makeImages(join(folder, 'in'), 3);
  const made = await sets.create({ name: '  Foxes ' });
  expect(made).toMatchObject({ name: 'Foxes', notes: '', target: null, storage: 'referenced', imageCount: 0, cover: [] });
  const events = await collect(sets.addImages({ id: made.id, files: [...files, makeBroken(join(folder, 'x.png'))] }));
  const done = events.at(-1)!;
  if (done.type !== 'done') return expect.unreachable();
  expect(events.slice(0, -1).every(({ type }) => type === 'progress')).toBe(true);
  expect(done).toMatchObject({ setId: made.id, failed: [{ error: { code: 'IMAGE_INVALID' } }] });
  const [a, b, c] = done.added as [string, string, string];
  expect((await sets.reorder({ id: made.id, hashes: [c] })).images.map(({ hash }) => hash)).toEqual([c, a, b]);
  expect(await sets.setImage({ id: made.id, hash: a, change: { weight: 0.5 } })).toMatchObject({ hash: a, weight: 0.5 });
  expect((await sets.get({ id: made.id, check: true })).images.map(({ state }) => state)).toEqual(Array(3).fill('present'));
  expect((await sets.get({ id: made.id })).images[0]).not.toHaveProperty('state');
  expect(await sets.removeImages({ id: made.id, hashes: [b] })).toMatchObject({ imageCount: 2 });
  expect(await sets.duplicates({ id: made.id })).toEqual({ near: [] });
  expect(await sets.update({ id: made.id, change: { target: 'z-image' } })).toMatchObject({ target: 'z-image' });
  expect(await sets.list({})).toMatchObject({ total: 1, sets: [{ id: made.id, cover: [c, a] }] });
  expect(await sets.remove({ ids: [made.id, made.id] })).toEqual({ removed: [made.id] });
  expect(await sets.undo({ ids: [made.id] })).toEqual({ restored: [made.id] });
});

test('folders come in over the contract, and are read again', async () => {
  const { sets, folder } = await client();
  await makeImages(join(folder, 'all', 'one'), 2);
  await makeImages(join(folder, 'all', 'two'), 1, 10);
  const done = (await collect(sets.importFolder({ folder: join(folder, 'all'), each: true }))).at(-1);
  if (done?.type !== 'done') return expect.unreachable();
  expect(done.sets.map(({ name, added }) => [name, added.length])).toEqual([['one', 2], ['two', 1]]); // prettier-ignore
  await makeImages(join(folder, 'all', 'two'), 2, 10);
  expect((await collect(sets.rescan({ id: done.sets[1]!.setId }))).at(-1)).toMatchObject({ type: 'done', added: [expect.any(String)] }); // prettier-ignore
});

test('errors keep their code, in answers and in streams', async () => {
  const { sets, folder } = await client();
  expect(await failure(sets.get({ id: 7 }))).toMatchObject({ code: 'NOT_IN_LIBRARY', fields: { set: 7 } });
  expect((await failure(sets.create({ name: ' ' }))).code).toBe('BAD_ARGUMENT');
  expect((await failure(sets.list({ limit: 0 }))).code).toBe('BAD_ARGUMENT');
  expect((await failure(sets.addImages({ id: 1, files: ['a\0b'] }))).code).toBe('BAD_ARGUMENT');
  expect((await failure(sets.setImage({ id: 1, hash: '../x', change: {} }))).code).toBe('BAD_ARGUMENT');
  const missing = join(folder, 'missing');
  expect(await failure(collect(sets.importFolder({ folder: missing })))).toMatchObject({ code: 'FILE_NOT_FOUND', fields: { file: missing } }); // prettier-ignore
  expect((await failure(collect(sets.rescan({ id: 3 })))).code).toBe('NOT_IN_LIBRARY');
});

test('a path that the policy refuses is not touched', async () => {
  const { sets, folder, library } = await client((path) => {
    throw new I2lError('FILE_UNREADABLE', `${path}: not for this client.`, { file: path });
  });
  const files = await makeImages(join(folder, 'in'), 1);
  const { id } = await sets.create({ name: 'x' });
  expect((await failure(sets.addImages({ id, files }))).message).toContain('not for this client');
  expect((await failure(sets.importFolder({ folder }))).message).toContain('not for this client');
  expect(library.sets.get(id).images).toEqual([]);
});

test('an import stops when its listener goes', async () => {
  const { sets, folder, library } = await client();
  await makeImages(join(folder, 'in'), 200);
  const stream = await sets.importFolder({ folder: join(folder, 'in') });
  for await (const event of stream) if (event.type === 'progress') break;
  const { imageCount } = library.sets.list().sets[0]!;
  expect(imageCount).toBeLessThan(200);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(library.sets.list().sets[0]!.imageCount).toBe(imageCount);
  expect(existsSync(join(folder, 'in'))).toBe(true);
});

test('who may name chosen files alone can put back what it took out of a set, and only that', async () => {
  const chosen = new ChosenPaths();
  const folder = join(base, `${count++}`);
  const library = await openLibrary(join(folder, 'data'));
  const own = { allowPath: (path: string) => chosen.allow(path) };
  const sets = createRouterClient(setsRouter, { context: { library, ...own } });
  const files = await makeImages(join(folder, 'in'), 2);
  const { id } = await sets.create({ name: 'Foxes' });
  expect(await failure(collect(sets.addImages({ id, files })))).toMatchObject({ fields: { reason: 'path-not-chosen' } });
  await library.setImport.addImages(id, files);
  const before = await sets.get({ id });
  const [first, second] = before.images.map(({ hash }) => hash) as [string, string];
  await sets.removeImages({ id, hashes: [first] });
  expect(await sets.restoreImages({ id, hashes: [second, first] })).toEqual({ restored: [first] });
  expect((await sets.get({ id })).images).toEqual(before.images);
  expect(await failure(collect(sets.addImages({ id, files: [before.images[0]!.file] })))).toMatchObject({ code: 'BAD_ARGUMENT' });
});
