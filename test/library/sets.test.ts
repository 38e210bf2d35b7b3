import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { basename, join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { MOST_NAME } from '../../main/contract/library-values.ts';
import type { Library } from '../../main/library/library.ts';
import { contentOf } from '../../main/weights/atomic-copy.ts';
import { rejectionOf, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { makeBroken, makeImage, makeImages } from './make-images.ts';
import { openLibrary } from './open-library.ts';

const base = tempFolder();
let count = 0;
const fresh = (): string => join(base, `${count++}`);

async function filled(images = 3): Promise<{ library: Library; folder: string; files: string[]; id: number; hashes: string[] }> {
  const folder = fresh();
  const library = await openLibrary(join(folder, 'data'));
  const files = await makeImages(join(folder, 'pictures'), images, count * 1000);
  const { id } = library.sets.create({ name: 'A set' });
  const { added } = await library.setImport.addImages(id, files);
  return { library, folder, files, id, hashes: added };
}

describe('sets', () => {
  test('are copied whole, and the copy is a set of its own', async () => {
    const { library, folder, id, hashes } = await filled();
    const [first, second, third] = hashes as [string, string, string];
    library.sets.update(id, { notes: 'of a walk', target: 'z-image', storage: 'copied' });
    library.sets.setImage(id, second, { weight: 2.5, caption: 'a heron' });
    library.sets.reorder(id, [third, first, second]);
    const original = library.sets.get(id);
    const copy = library.sets.copy(id, 'A set copy');
    const { images, ...summary } = library.sets.get(copy.id);
    expect(summary).toMatchObject({
      name: 'A set copy',
      notes: 'of a walk',
      target: 'z-image',
      storage: 'copied',
      trashedAt: null,
    });
    expect(images).toEqual(original.images);
    expect(library.sets.list({ text: 'heron' }).sets.map(({ name }) => name)).toContain('A set copy');

    library.sets.removeImages(copy.id, [first]);
    library.sets.setImage(copy.id, second, { weight: 0 });
    expect(library.sets.get(id)).toEqual(original);
    expect([library.sets.remove([copy.id]), library.sets.undo([copy.id])]).toEqual([[copy.id], [copy.id]]);
    expect(library.sets.get(copy.id).imageCount).toBe(2);

    const { sets } = await library.setImport.importFolder(join(folder, 'pictures'));
    expect(library.sets.copy(sets[0]!.setId, 'Apart').folder).toBeNull();
    expect(thrownBy(() => library.sets.copy(99, 'None')).code).toBe('NOT_IN_LIBRARY');
    expect(library.sets.list({}).sets.map(({ name }) => name)).not.toContain('None');
  });

  test('are made, changed, found, sorted, put into the trash and taken out of it', async () => {
    let now = 1000;
    const library = await openLibrary(fresh(), { now: () => now++ });
    const names = ['style 10', 'Style 2', 'Ébène', 'zebra', '狐の絵'];
    const ids = names.map((name) => library.sets.create({ name, notes: `about ${name}`, target: 'qwen-image' }).id);
    const listed = (query: Parameters<typeof library.sets.list>[0]): string[] => library.sets.list(query).sets.map(({ name }) => name); // prettier-ignore
    expect(listed({ sort: 'name', order: 'ascending' })).toEqual(['Ébène', 'Style 2', 'style 10', 'zebra', '狐の絵']);
    expect(listed({})).toEqual(names.toReversed());
    expect(listed({ text: 'ebene' })).toEqual(['Ébène']);
    expect(listed({ text: 'sty', sort: 'name', order: 'ascending' })).toEqual(['Style 2', 'style 10']);
    expect(listed({ text: '絵' })).toEqual(['狐の絵']);
    expect(library.sets.list({ sort: 'name', order: 'ascending', offset: 1, limit: 2 })).toMatchObject({ total: 5, sets: [{ name: 'Style 2' }, { name: 'style 10' }] }); // prettier-ignore

    expect(library.sets.update(ids[3]!, { name: 'Quagga', target: null })).toMatchObject({ name: 'Quagga', notes: 'about zebra', target: null }); // prettier-ignore
    expect([listed({ text: 'quagga' }), listed({ text: 'zebra', target: 'qwen-image' })]).toEqual([['Quagga'], []]);
    expect(listed({})[0]).toBe('Quagga');

    expect(library.sets.remove([ids[0]!, ids[1]!, 999])).toEqual([ids[0], ids[1]]);
    expect(library.sets.remove([ids[0]!])).toEqual([]);
    expect([library.sets.list().total, library.sets.list({ trashed: true }).total]).toEqual([3, 2]);
    expect(library.sets.undo([ids[0]!])).toEqual([ids[0]]);
    expect(library.sets.emptyTrash()).toBe(1);
    expect(thrownBy(() => library.sets.get(ids[1]!)).code).toBe('NOT_IN_LIBRARY');
    expect(library.sets.list({ text: 'style' }).total).toBe(1);
  });

  test('what a caller leaves undefined stays', async () => {
    const { library, id } = await filled(1);
    library.sets.update(id, { notes: 'kept' });
    expect(library.sets.update(id, { name: 'New', notes: undefined })).toMatchObject({ name: 'New', notes: 'kept' });
  });

  test('of a clock moved back the order of making still holds', async () => {
    let now = 5000;
    const library = await openLibrary(fresh(), { now: () => now });
    const first = library.sets.create({ name: 'first' }).id;
    now = 4000;
    const second = library.sets.create({ name: 'second' }).id;
    expect(second).toBeGreaterThan(first);
    expect(library.sets.update(first, { notes: 'x' }).updatedAt).toBe(4000);
    expect(library.sets.list({ sort: 'created' }).sets.map(({ id }) => id)).toEqual([first, second]);
  });
});

describe('images of a set', () => {
  test('keep order, weight and caption', async () => {
    const { library, id, hashes, files } = await filled(4);
    const [a, b, c, d] = hashes as [string, string, string, string];
    expect(library.sets.get(id).images.map(({ hash, weight, caption, source }) => ({ hash, weight, caption, source }))).toEqual(
      hashes.map((hash, i) => ({ hash, weight: 1, caption: '', source: files[i] })),
    );
    expect(library.sets.summary(id)).toMatchObject({ imageCount: 4, cover: hashes });
    const order = (): string[] => library.sets.get(id).images.map(({ hash }) => hash);
    library.sets.reorder(id, [c, a]);
    expect(order()).toEqual([c, a, b, d]);
    library.sets.setImage(id, b, { weight: 2.5 });
    expect(library.sets.setImage(id, b, { caption: 'a red fox' })).toMatchObject({ weight: 2.5, caption: 'a red fox' });
    expect(library.sets.list({ text: 'fox' }).total).toBe(1);
    library.sets.removeImages(id, [b, a]);
    expect(order()).toEqual([c, d]);
    expect(library.sets.list({ text: 'fox' }).total).toBe(0);
    expect(thrownBy(() => library.sets.reorder(id, [b])).code).toBe('NOT_IN_LIBRARY');
    expect(thrownBy(() => library.sets.setImage(id, b, { weight: 1 })).code).toBe('NOT_IN_LIBRARY');
    expect(existsSync(files[1]!)).toBe(true);
  });

  test('have images back that were taken out: at their places, with their weights, captions and names', async () => {
    const { library, id, hashes } = await filled(3);
    const [a, b, c] = hashes as [string, string, string];
    library.sets.setImage(id, b, { weight: 2.5, caption: 'a heron' });
    const before = library.sets.get(id);
    library.sets.removeImages(id, [c, b]);
    expect(library.sets.restoreImages(id, [b, c])).toEqual([b, c]);
    expect(library.sets.get(id).images).toEqual(before.images);
    expect(library.sets.list({ text: 'heron' }).total).toBe(1);
    expect(library.sets.restoreImages(id, [a, b]), 'what is there stays as it is').toEqual([]);

    library.sets.removeImages(id, [a]);
    await library.setImport.addImages(id, [before.images[0]!.file]);
    expect(library.sets.restoreImages(id, [a]), 'it has come by another way').toEqual([]);
    expect(library.sets.get(id).images.map(({ hash }) => hash)).toEqual([b, c, a]);

    const copied = library.sets.create({ name: 'Copies', storage: 'copied' }).id;
    await library.setImport.addImages(copied, before.images.map(({ file }) => file)); // prettier-ignore
    const { images } = library.sets.get(copied);
    library.sets.removeImages(copied, [a]);
    library.sets.restoreImages(copied, [a]);
    expect(library.sets.get(copied).images).toEqual(images);
    expect(thrownBy(() => library.sets.restoreImages(99, [a])).code).toBe('NOT_IN_LIBRARY');
  });

  test('referenced files stay where they are; copied ones are in the data folder, once for all sets', async () => {
    const { library, folder, files, id } = await filled(2);
    expect(existsSync(join(folder, 'data', 'images'))).toBe(false);
    const other = library.sets.create({ name: 'Copies', storage: 'copied' }).id;
    const third = library.sets.create({ name: 'More copies' }).id;
    await library.setImport.addImages(other, files);
    await library.setImport.addImages(third, files, { storage: 'copied' });
    const copies = library.sets.get(other).images;
    expect(copies.map(({ file }) => file)).toEqual(library.sets.get(third).images.map(({ file }) => file));
    for (const { file, hash, source } of copies) {
      expect(basename(file)).toBe(`${hash}.png`);
      expect((await contentOf(file)).sha256).toBe(hash);
      expect(files).toContain(source);
    }
    expect(library.sets.get(id).images[0]!.file).toBe(files[0]);
    // The copy serves the referenced set's image too, once its file is gone.
    rmSync(files[0]!);
    expect(await library.images.fileOf(copies[0]!.hash)).toBe(copies[0]!.file);
  });

  test('a file that was moved, changed or only touched is told apart', async () => {
    const { library, id, files } = await filled(4);
    const [gone, other, touched, whole] = files as [string, string, string, string];
    renameSync(gone, `${gone}.moved`);
    await makeImage(other, 77);
    utimesSync(touched, 1, 1);
    const states = async () => (await library.sets.check(id)).images.map(({ state }) => state);
    expect(await states()).toEqual(['missing', 'changed', 'present', 'present']);
    const [row] = library.database.all<{ m: number }>('SELECT source_mtime_ms AS m FROM set_images WHERE source = ?', [touched]);
    expect(row!.m).toBe(statSync(touched).mtimeMs);
    expect(await library.images.fileOf(library.sets.get(id).images[3]!.hash)).toBe(whole);
    const error = await rejectionOf(library.images.fileOf(library.sets.get(id).images[1]!.hash));
    expect(error.code).toBe('FILE_NOT_FOUND');
    expect(error.message).toContain(other);
  });

  test('a copy that is gone or cut off is noticed', async () => {
    const { library, files } = await filled(2);
    const id = library.sets.create({ name: 'c', storage: 'copied' }).id;
    await library.setImport.addImages(id, files);
    const [a, b] = library.sets.get(id).images;
    rmSync(a!.file);
    truncateSync(b!.file, 10);
    expect((await library.sets.check(id)).images.map(({ state }) => state)).toEqual(['missing', 'changed']);
  });

  test('the same content twice is one image; near-duplicates are pointed out', async () => {
    const { library, id, files, hashes, folder } = await filled(3);
    const twin = join(folder, 'twin.png');
    copyFileSync(files[0]!, twin);
    const small = join(folder, 'small.jpg');
    await sharp(files[1]).resize(40).jpeg({ quality: 90 }).toFile(small);
    const result = await library.setImport.addImages(id, [twin, small, twin]);
    expect(result.duplicates).toEqual([
      { file: twin, hash: hashes[0] },
      { file: twin, hash: hashes[0] },
    ]);
    expect(result.added).toHaveLength(1);
    const near = library.sets.duplicates(id, 10);
    expect(near).toHaveLength(1);
    expect(new Set([near[0]!.a, near[0]!.b])).toEqual(new Set([hashes[1], result.added[0]]));
  });

  test('thumbnails are made at import, again if they are gone, once for many that ask', async () => {
    const { library, hashes, folder, files } = await filled(2);
    const file = await library.images.thumbnail(hashes[0]!);
    expect(file.startsWith(join(folder, 'data', 'cache', 'thumbnails'))).toBe(true);
    expect(await sharp(file).metadata()).toMatchObject({ format: 'webp', width: 48 });
    rmSync(join(folder, 'data', 'cache'), { recursive: true });
    const again = await Promise.all(Array.from({ length: 5 }, () => library.images.thumbnail(hashes[0]!)));
    expect(new Set(again)).toEqual(new Set([file]));
    expect(existsSync(file)).toBe(true);
    rmSync(files[1]!);
    expect((await rejectionOf(library.images.thumbnail(hashes[1]!))).code).toBe('FILE_NOT_FOUND');
    expect((await rejectionOf(library.images.thumbnail('0'.repeat(64)))).code).toBe('NOT_IN_LIBRARY');
  });

  test('captions are read from the texts beside the images; one that can not be is told and loses no image', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const files = await makeImages(join(folder, 'in'), 4);
    const text = (i: number): string => files[i]!.replace('.png', '.txt');
    writeFileSync(text(0), '\uFEFF  a fox\nin the snow \n');
    writeFileSync(text(1), Buffer.from([0x66, 0xff, 0x00, 0x67]));
    writeFileSync(text(2), 'x'.repeat(100_000));
    const { id } = library.sets.create({ name: 'captions' });
    const { added, failed } = await library.setImport.addImages(id, files);
    expect(added).toHaveLength(4);
    expect(library.sets.get(id).images.map(({ caption }) => caption)).toEqual(['a fox\nin the snow', 'f\uFFFD g', '', '']);
    expect(failed.map(({ file }) => file)).toEqual([text(2)]);
  });
});

describe('folders', () => {
  test('a folder becomes a set that mirrors it; broken files are told and stop nothing', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const pictures = join(folder, 'wörk 狐');
    const files = await makeImages(pictures, 12);
    makeBroken(join(pictures, 'broken.png'));
    mkdirSync(join(pictures, 'folder.jpg'));
    writeFileSync(join(pictures, 'notes.md'), 'not looked at');
    const progress: number[] = [];
    const { sets } = await library.setImport.importFolder(pictures, { onProgress: (done, total) => progress.push(done / total) });
    expect(sets[0]).toMatchObject({ name: 'wörk 狐' });
    expect(sets[0]!.added).toHaveLength(12);
    expect(sets[0]!.failed.map(({ file, error }) => [basename(file), error.code])).toEqual([
      ['broken.png', 'IMAGE_INVALID'],
      ['folder.jpg', 'FILE_UNREADABLE'],
    ]);
    expect(progress).toHaveLength(14);
    expect(progress.at(-1)).toBe(1);
    // By the numbers in their names, as people count.
    expect(library.sets.get(sets[0]!.setId).images.map(({ source }) => source)).toEqual(files);
    expect(library.sets.get(sets[0]!.setId).folder).toBe(pictures);
  });

  test('a long folder name is cut behind a whole character', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const pictures = join(folder, `${'x'.repeat(MOST_NAME - 1)}🦊🦊`);
    await makeImages(pictures, 1);
    const { sets } = await library.setImport.importFolder(pictures);
    expect(sets[0]?.name).toBe(`${'x'.repeat(MOST_NAME - 1)}…`);
  });

  test('a folder of folders becomes many sets, and again reads those folders again', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const root = join(folder, 'all');
    await makeImages(join(root, 'b'), 2, 10);
    await makeImages(join(root, 'a'), 3, 20);
    mkdirSync(join(root, 'none'));
    mkdirSync(join(root, '.hidden'));
    mkdirSync(join(root, 'bad'));
    makeBroken(join(root, 'bad', 'x.png'));
    writeFileSync(join(root, 'a file'), '');
    const first = await library.setImport.importFolder(root, { each: true, storage: 'copied' });
    expect(first.sets.map(({ name, added }) => [name, added.length])).toEqual([['a', 3], ['b', 2]]); // prettier-ignore
    expect(first.failed.map(({ file, error }) => [basename(file), error.code])).toEqual([['bad', 'NO_IMAGES'], ['none', 'NO_IMAGES']]); // prettier-ignore
    await makeImages(join(root, 'none'), 1, 30);
    const second = await library.setImport.importFolder(root, { each: true });
    expect(second.sets.map(({ name, added }) => [name, added.length])).toEqual([['a', 0], ['b', 0], ['none', 1]]); // prettier-ignore
    expect(library.sets.list().total).toBe(3);
    expect((await rejectionOf(library.setImport.importFolder(join(root, 'a file')))).code).toBe('FILE_UNREADABLE');
    expect((await rejectionOf(library.setImport.importFolder(join(root, 'a'), { each: true }))).code).toBe('NO_IMAGES');
    expect((await rejectionOf(library.setImport.importFolder(join(root, 'nowhere')))).code).toBe('FILE_NOT_FOUND');
  });

  test('read again: added, removed, changed, renamed, and what the user wrote stays', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const pictures = join(folder, 'in');
    const [one, two, three, four] = (await makeImages(pictures, 4)) as [string, string, string, string];
    const { sets } = await library.setImport.importFolder(pictures);
    const id = sets[0]!.setId;
    const hashes = sets[0]!.added as [string, string, string, string];
    for (const [i, hash] of hashes.entries()) library.sets.setImage(id, hash, { weight: i + 2, caption: `caption ${i}` });
    const outside = await makeImage(join(folder, 'outside.png'), 500);
    await library.setImport.addImages(id, [outside]);

    rmSync(one);
    await makeImage(two, 99);
    renameSync(three, join(pictures, 'zz renamed.png'));
    const fifth = await makeImage(join(pictures, 'new.png'), 98);
    makeBroken(four);
    const result = await library.setImport.rescan(id);
    expect(result).toMatchObject({
      added: [(await contentOf(fifth)).sha256],
      removed: [hashes[0]],
      changed: [{ file: two, from: hashes[1], to: (await contentOf(two)).sha256 }],
      moved: [{ from: three, to: join(pictures, 'zz renamed.png'), hash: hashes[2] }],
      failed: [{ file: four, error: { code: 'IMAGE_INVALID' } }],
    });
    const images = library.sets.get(id).images;
    expect(images.map(({ source }) => basename(source))).toEqual(['image 2.png', 'zz renamed.png', 'image 4.png', 'outside.png', 'new.png']); // prettier-ignore
    expect(images.slice(0, 3).map(({ weight, caption }) => [weight, caption])).toEqual([[3, 'caption 1'], [4, 'caption 2'], [5, 'caption 3']]); // prettier-ignore

    const quiet = await library.setImport.rescan(id);
    expect([quiet.added, quiet.removed, quiet.changed, quiet.moved, quiet.duplicates]).toEqual([[], [], [], [], []]);
    for (const name of readdirSync(pictures)) rmSync(join(pictures, name));
    expect((await rejectionOf(library.setImport.rescan(id))).code).toBe('NO_IMAGES');
    rmSync(pictures, { recursive: true });
    expect((await rejectionOf(library.setImport.rescan(id))).code).toBe('FILE_NOT_FOUND');
    expect(library.sets.get(id).images).toHaveLength(5);
  });

  test('two files that swapped their names lose nothing', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const [one, two] = (await makeImages(join(folder, 'in'), 2)) as [string, string];
    const { sets } = await library.setImport.importFolder(join(folder, 'in'));
    renameSync(one, `${one}.t`);
    renameSync(two, one);
    renameSync(`${one}.t`, two);
    utimesSync(one, 5, 5);
    utimesSync(two, 6, 6);
    const { moved, removed, changed } = await library.setImport.rescan(sets[0]!.setId);
    expect([moved.length, removed, changed]).toEqual([2, [], []]);
    expect(library.sets.get(sets[0]!.setId).images.map(({ source, hash }) => [source, hash])).toEqual([[two, sets[0]!.added[0]], [one, sets[0]!.added[1]]]); // prettier-ignore
    expect((await library.sets.check(sets[0]!.setId)).images.map(({ state }) => state)).toEqual(['present', 'present']);
  });

  test('an import that is cancelled keeps what it has written, and goes on from there', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    await makeImages(join(folder, 'in'), 80);
    const stop = new AbortController();
    const onProgress = (done: number): void => {
      if (done === 40) stop.abort();
    };
    const error = await rejectionOf(library.setImport.importFolder(join(folder, 'in'), { signal: stop.signal, onProgress }));
    expect(error.code).toBe('CANCELLED');
    expect(library.sets.list().sets[0]!.imageCount).toBe(32);
    const { sets } = await library.setImport.importFolder(join(folder, 'in'));
    expect(sets[0]!.added).toHaveLength(48);
    expect(library.sets.get(sets[0]!.setId).images).toHaveLength(80);
  });

  test('500 images, some of them broken, and the thread stays free for others', async () => {
    const folder = fresh();
    const library = await openLibrary(join(folder, 'data'));
    const pictures = join(folder, 'in');
    await makeImages(pictures, 490);
    for (let i = 0; i < 10; i++) makeBroken(join(pictures, `broken ${i}.jpg`));
    let turns = 0;
    const timer = setInterval(() => turns++, 10);
    const started = performance.now();
    const { sets } = await library.setImport.importFolder(pictures);
    clearInterval(timer);
    const seconds = (performance.now() - started) / 1000;
    expect([sets[0]!.added.length, sets[0]!.failed.length]).toEqual([490, 10]);
    expect(new Set(sets[0]!.added).size).toBe(490);
    expect(turns).toBeGreaterThan(seconds * 20);
    expect(library.sets.summary(sets[0]!.setId).imageCount).toBe(490);
  });
});
