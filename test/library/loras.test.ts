import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LoraFacts, LoraQuery } from '../../main/contract/loras.ts';
import type { Library } from '../../main/library/library.ts';
import { rejectionOf, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { makeImages } from './make-images.ts';
import { makeLora } from './make-loras.ts';
import { openLibrary } from './open-library.ts';

const base = tempFolder();
let count = 0;

async function fresh(): Promise<{ library: Library; folder: string; data: string }> {
  const folder = join(base, `${count++} ö狐`);
  const data = join(folder, 'data');
  return { library: await openLibrary(data), folder, data };
}

const told = {
  'i2l.experts': JSON.stringify([{ id: 'style', fingerprint: 'f'.repeat(32), strength: 0.8 }]),
  'i2l.images': JSON.stringify([{ sha256: 'a'.repeat(64), weight: 0.5 }]),
  'i2l.recipe': 'b'.repeat(64),
  'i2l.warning': 'random weights',
  'i2l.synthetic': 'true',
  'modelspec.trigger_phrase': 'fox, red  fox ,',
};

describe('a LoRA', () => {
  test('is what its file says, and keeps what the user wrote', async () => {
    const { library, folder } = await fresh();
    const facts = makeLora(join(folder, 'fox.safetensors'), 1);
    const lora = library.loras.add({ ...facts, metadata: { ...facts.metadata, ...told } });
    expect(lora).toMatchObject({
      ...{ id: 1, name: 'fox', file: facts.file, bytes: facts.bytes, sha256: facts.sha256, tensorHash: facts.tensorHash },
      ...{
        target: 'qwen-image',
        rank: { min: 2, max: 2 },
        dtype: 'F32',
        modules: 1,
        warning: 'random weights',
        synthetic: true,
        imageCount: 1,
      },
      ...{
        experts: [{ expert: 'style', role: 'style', strength: 0.8 }],
        recipe: 'b'.repeat(64),
        triggerWords: ['fox', 'red  fox'],
      },
      ...{ autoV2: facts.sha256.slice(0, 10).toUpperCase(), autoV3: facts.tensorHash.slice(0, 12).toUpperCase(), missing: false },
    });
    expect((await library.loras.get(lora.id)).madeFrom).toEqual({
      images: [{ hash: 'a'.repeat(64), weight: 0.5, caption: '', isKnown: false }],
    });
    library.loras.update(lora.id, { notes: 'mine', rating: 4, favourite: true, tags: ['Red', 'red', 'Fox'], defaultStrength: 0.7 });
    // The same place with other content is the same LoRA, told anew.
    const again = library.loras.add(makeLora(facts.file, 5));
    expect(again).toMatchObject({
      id: 1,
      notes: 'mine',
      rating: 4,
      favourite: true,
      tags: ['Fox', 'Red'],
      experts: [],
      warning: '',
      synthetic: false,
    });
    expect(again.tensorHash).not.toBe(facts.tensorHash);
    expect(library.loras.list().total).toBe(1);
  });

  test('of random weights as the first versions wrote it, by its warning alone, is of the demo', async () => {
    const { library, folder } = await fresh();
    const facts = makeLora(join(folder, 'old.safetensors'), 1);
    const lora = library.loras.add({ ...facts, metadata: { 'i2l.warning': 'random weights' } });
    expect(lora).toMatchObject({ warning: 'random weights', synthetic: true });
  });

  test('hostile metadata is as good as none', async () => {
    const { library, folder } = await fresh();
    const facts = makeLora(join(folder, 'x.safetensors'), 1);
    const metadata = {
      'i2l.experts': '[{"id":1}]',
      'i2l.images': '{',
      'i2l.synthetic': '{}',
      'i2l.recipe': '../x',
      'i2l.warning': 'w'.repeat(1e6),
    };
    const lora = library.loras.add({ ...facts, metadata });
    expect(lora).toMatchObject({ experts: [], imageCount: 0, synthetic: false, recipe: facts.tensorHash });
    expect(lora.warning.length).toBe(2000);
  });

  test('whose file is gone, changed or touched says so', async () => {
    const { library, folder } = await fresh();
    const facts = makeLora(join(folder, 'a.safetensors'), 1);
    const { id } = library.loras.add(facts);
    utimesSync(facts.file, 9, 9);
    expect((await library.loras.get(id)).state).toBe('present');
    renameSync(facts.file, `${facts.file}.away`);
    expect(await library.loras.get(id)).toMatchObject({ state: 'missing', missing: true });
    expect(library.loras.list({ missing: true }).total).toBe(1);
    renameSync(`${facts.file}.away`, facts.file);
    expect((await library.loras.get(id)).state).toBe('present');
    expect(library.loras.list({ missing: true }).total).toBe(0);
    writeFileSync(facts.file, 'other');
    expect((await library.loras.get(id)).state).toBe('changed');
    expect(thrownBy(() => library.loras.view(99)).code).toBe('NOT_IN_LIBRARY');
    expect(thrownBy(() => library.loras.update(id, { preview: 'c'.repeat(64) })).code).toBe('NOT_IN_LIBRARY');
    expect(thrownBy(() => library.loras.add({ ...facts, file: join(folder, 'no') })).code).toBe('FILE_NOT_FOUND');
  });

  test('versions of a recipe, duplicates, previews and exports', async () => {
    const { library, folder } = await fresh();
    const facts = makeLora(join(folder, 'a.safetensors'), 1);
    const first = library.loras.add(facts);
    const cut = library.loras.add(makeLora(join(folder, 'a-rank1.safetensors'), 2, 1), { parentId: first.id });
    library.loras.add(makeLora(join(folder, 'other.safetensors'), 3));
    expect(library.loras.versions(cut.id).map(({ id }) => id)).toEqual([first.id, cut.id]);
    const twin = library.loras.add(makeLora(join(folder, 'twin.safetensors'), 1));
    expect(library.loras.duplicates()).toEqual([[first.id, twin.id]]);
    expect(library.loras.withTensors(facts.tensorHash)).toBe(first.id);

    const files = await makeImages(join(folder, 'in'), 1);
    const { added } = await library.setImport.addImages(library.sets.create({ name: 's' }).id, files);
    expect(library.loras.update(first.id, { preview: added[0] }).preview).toBe(added[0]);

    const exported = join(folder, 'comfy', 'a.safetensors');
    mkdirSync(join(folder, 'comfy'));
    writeFileSync(exported, readFileSync(facts.file));
    library.loraExports.add(first.id, { kind: 'comfyui', path: exported, sha256: facts.sha256 });
    expect(await library.loraExports.of(first.id)).toMatchObject([{ kind: 'comfyui', path: exported, state: 'present' }]);
    rmSync(exported);
    expect(await library.loraExports.of(first.id)).toMatchObject([{ state: 'missing' }]);
  });

  test('is found by what its models were taken for, and by their ids; those of random weights are left out', async () => {
    const { library, folder } = await fresh();
    const of = (name: string, experts: readonly object[], synthetic = 'false'): number => {
      const told = experts.map((expert) => ({ fingerprint: '', strength: 1, ...expert }));
      const facts = makeLora(join(folder, `${name}.safetensors`), name.length);
      return library.loras.add({ ...facts, metadata: { 'i2l.experts': JSON.stringify(told), 'i2l.synthetic': synthetic } }).id;
    };
    const published = of('published', [{ id: 'qwen-image-i2l-coarse', expert: 'coarse' }]);
    const own = of('own', [{ id: 'i2l', expert: 'style' }, { id: 'i2l', expert: 'coarse' }], 'true'); // prettier-ignore
    const untold = of('untold', [{ id: 'i2l', expert: 'constructor' }, { id: 'z-image-i2l-style' }]);
    const found = (query: LoraQuery): number[] => library.loras.list({ ...query, order: 'ascending' }).loras.map(({ id }) => id);
    expect(found({ expert: 'coarse' })).toEqual([published, own]);
    expect(found({ expert: 'style' })).toEqual([own, untold]);
    expect(found({ expert: 'i2l' })).toEqual([own, untold]);
    expect(found({ expert: 'qwen-image-i2l-coarse' })).toEqual([published]);
    expect(found({ synthetic: true })).toEqual([own]);
    expect(found({ synthetic: false })).toEqual([published, untold]);
    expect(library.loras.view(untold).experts.map(({ role }) => role)).toEqual([null, 'style']);
  });

  test('many are tagged and rated at once', async () => {
    const { library, folder } = await fresh();
    const ids = [1, 2, 3].map((i) => library.loras.add(makeLora(join(folder, `${i}.safetensors`), i), { tags: ['old'] }).id);
    expect(library.loras.bulk([...ids.slice(0, 2), 77], { tag: ['New', 'Ünï'], untag: ['OLD'], rating: 5 })).toEqual(ids.slice(0, 2)); // prettier-ignore
    expect(library.loras.view(ids[0]!)).toMatchObject({ tags: ['New', 'Ünï'], rating: 5, favourite: false });
    expect(library.loras.tags()).toEqual([{ tag: 'New', count: 2 }, { tag: 'old', count: 1 }, { tag: 'Ünï', count: 2 }]); // prettier-ignore
    expect(library.loras.list({ text: 'uni' }).total).toBe(2);
  });
});

describe('files', () => {
  const sidecars = ['.metadata.json', '.preview.png', '.txt'];
  const withSidecars = (file: string): string[] => {
    const beside = sidecars.map((ending) => file.replace('.safetensors', ending));
    for (const one of beside) writeFileSync(one, basename(one));
    return beside;
  };

  test('are brought in as copies, each under a name of its own, or left where they are', async () => {
    const { library, folder, data } = await fresh();
    const facts = makeLora(join(folder, 'fox 狐.safetensors'), 1);
    const other = makeLora(join(folder, 'b', 'fox 狐.safetensors'), 2);
    const copy = await library.loraFiles.bringIn(facts, 'copied');
    const second = await library.loraFiles.bringIn(other, 'copied');
    const inPlace = await library.loraFiles.bringIn(makeLora(join(folder, 'c.safetensors'), 3), 'referenced');
    expect([copy.file, second.file, inPlace.file]).toEqual([
      join(data, 'loras', 'fox 狐.safetensors'),
      join(data, 'loras', 'fox 狐-v2.safetensors'),
      join(folder, 'c.safetensors'),
    ]);
    expect([copy.name, second.name]).toEqual(['fox 狐', 'fox 狐']);
    expect(readFileSync(second.file).equals(readFileSync(other.file))).toBe(true);
    writeFileSync(facts.file, 'changed since');
    expect((await rejectionOf(library.loraFiles.bringIn(facts, 'copied'))).code).toBe('FILE_WRITE_FAILED');
  });

  test('come in under a name that neither a LoRA whose file is missing has, nor one that is coming in', async () => {
    const { library, folder, data } = await fresh();
    const lost = await library.loraFiles.bringIn(makeLora(join(folder, 'fox.safetensors'), 1), 'copied');
    library.loras.update(lost.id, { rating: 5, notes: 'mine' });
    rmSync(lost.file);
    const arriving = library.loraFiles.bringIn(makeLora(join(folder, 'b', 'fox.safetensors'), 2), 'moved');
    expect(library.freeFiles.forNew('fox')).toBe(join(data, 'loras', 'fox-v3.safetensors'));
    const arrived = await arriving;
    expect(arrived).toMatchObject({ rating: 0, file: join(data, 'loras', 'fox-v2.safetensors') });
    expect(arrived.id).not.toBe(lost.id);
    expect(await library.loras.get(lost.id)).toMatchObject({ rating: 5, notes: 'mine', state: 'missing' });
  });

  test.each(['copied', 'moved'] as const)('that come in %s and can be no row are as they were', async (arrival) => {
    const { library, folder, data } = await fresh();
    const facts = makeLora(join(folder, 'fox.safetensors'), 1);
    const beside = withSidecars(facts.file);
    const refused = await rejectionOf(library.loraFiles.bringIn(facts, arrival, { preview: 'a'.repeat(64) }));
    expect(refused.code).toBe('NOT_IN_LIBRARY');
    expect([facts.file, ...beside].every(existsSync)).toBe(true);
    expect(readdirSync(join(data, 'loras'))).toEqual([]);
    expect(library.freeFiles.isFree(join(data, 'loras', 'fox.safetensors'))).toBe(true);
  });

  test('an image for a LoRA that is gone goes with the unused ones', async () => {
    const later = 2 * 3_600_000;
    let now = 0;
    const folder = join(base, `${count++}`);
    const library = await openLibrary(join(folder, 'data'), { now: () => now });
    const { id } = library.loras.add(makeLora(join(folder, 'fox.safetensors'), 1));
    await library.loraFiles.remove([id], 'own');
    await library.loraFiles.emptyTrash();
    const [image = ''] = await makeImages(join(folder, 'pictures'), 1);
    expect((await rejectionOf(library.takePreview(id, image))).code).toBe('NOT_IN_LIBRARY');
    now = later;
    expect((await library.emptyTrash()).images).toBe(1);
    const left = (kept: string): string[] => readdirSync(join(folder, 'data', kept), { recursive: true, encoding: 'utf8' });
    expect([...left('images'), ...left(join('cache', 'thumbnails'))].filter((name) => /\.\w+$/.test(name))).toEqual([]);
  });

  test('a new name renames the file with what lies beside it; one elsewhere only if asked', async () => {
    const { library, folder, data } = await fresh();
    const { id } = await library.loraFiles.bringIn(makeLora(join(data, 'loras', 'a.safetensors'), 1), 'copied');
    withSidecars(join(data, 'loras', 'a.safetensors'));
    makeLora(join(data, 'loras', 'New- name.safetensors'), 9);
    const renamed = await library.loraFiles.rename(id, 'New: name', 'own');
    expect(renamed).toMatchObject({ name: 'New: name', file: join(data, 'loras', 'New- name-v2.safetensors') });
    for (const ending of sidecars) expect(existsSync(join(data, 'loras', `New- name-v2${ending}`))).toBe(true);
    expect(existsSync(join(data, 'loras', 'a.safetensors'))).toBe(false);
    const foreign = library.loras.add(makeLora(join(folder, 'theirs.safetensors'), 2));
    expect(await library.loraFiles.rename(foreign.id, 'ours', 'own')).toMatchObject({ name: 'ours', file: foreign.file });
    expect((await library.loraFiles.rename(foreign.id, 'ours', 'all')).file).toBe(join(folder, 'ours.safetensors'));
  });

  test('go to the trash and come back whole, also if their place was taken; and are gone once it is emptied', async () => {
    const { library, folder, data } = await fresh();
    const own = await library.loraFiles.bringIn(makeLora(join(folder, 'a.safetensors'), 1), 'copied');
    const beside = withSidecars(own.file);
    const foreign = library.loras.add(makeLora(join(folder, 'theirs.safetensors'), 2));
    const gone = library.loras.add(makeLora(join(folder, 'gone.safetensors'), 3));
    rmSync(gone.file);
    const ids = [own.id, foreign.id, gone.id];
    expect(await library.loraFiles.remove([...ids, 88], 'own')).toMatchObject({ removed: ids, failed: [{ error: { code: 'NOT_IN_LIBRARY' } }] }); // prettier-ignore
    expect([own.file, ...beside].some(existsSync)).toBe(false);
    expect(existsSync(foreign.file)).toBe(true);
    expect([library.loras.list().total, library.loras.list({ trashed: true }).total]).toEqual([0, 3]);
    expect((await library.loraFiles.remove(ids, 'own')).removed).toEqual([]);

    expect((await library.loraFiles.undo(ids)).restored).toEqual(ids);
    expect([own.file, ...beside].every(existsSync)).toBe(true);
    expect(library.loras.list().total).toBe(3);
    await library.loraFiles.remove([own.id], 'own');
    writeFileSync(own.file, 'another');
    await library.loraFiles.undo([own.id]);
    expect(library.loras.view(own.id).file).toBe(join(data, 'loras', 'a-v2.safetensors'));
    expect(readFileSync(own.file, 'utf8')).toBe('another');

    await library.loraFiles.remove(ids, 'own');
    expect(await library.loraFiles.emptyTrash()).toEqual({ removed: 3, failed: [] });
    expect(library.loras.list({ trashed: true }).total).toBe(0);
    expect(existsSync(foreign.file)).toBe(true);
    expect(existsSync(join(data, 'trash', String(own.id)))).toBe(false);
    await library.loraFiles.undo(ids);
    expect(library.loras.list().total).toBe(0);
  });

  /** As a process leaves it that dies in a move: the row says so, and the files are in this state. */
  const DEAD = 2 ** 22 + 1;
  test.each(['before it began', 'between the files', 'under both names', 'after the files', 'with both lost'])(
    'a move that was cut off %s is finished at the next start',
    async (when) => {
      const { library, folder, data } = await fresh();
      const own = await library.loraFiles.bringIn(makeLora(join(folder, 'a.safetensors'), 1), 'copied');
      withSidecars(own.file);
      const to = join(data, 'trash', '1', 'a.safetensors');
      mkdirSync(join(data, 'trash', '1'), { recursive: true });
      library.database.run('UPDATE loras SET moving_to = ?, moving_pid = ?, trashed_at = 5 WHERE id = ?', ['trash/1/a.safetensors', DEAD, own.id]); // prettier-ignore
      if (when !== 'before it began') renameSync(join(data, 'loras', 'a.txt'), join(data, 'trash', '1', 'a.txt'));
      if (when === 'under both names') writeFileSync(to, readFileSync(own.file));
      if (when === 'after the files') renameSync(own.file, to);
      if (when === 'with both lost') rmSync(own.file);
      await library.close();
      const again = await openLibrary(data);
      const row = again.loras.row(own.id);
      expect([row.movingTo, row.movingPid]).toEqual([null, null]);
      if (when === 'with both lost') {
        expect(row.trashedAt).toBe(null);
        expect((await again.loras.get(own.id)).state).toBe('missing');
        return;
      }
      expect([row.path, row.trashedFrom, row.trashedAt]).toEqual(['trash/1/a.safetensors', 'loras/a.safetensors', 5]);
      expect([existsSync(own.file), existsSync(to), existsSync(join(data, 'trash', '1', 'a.txt'))]).toEqual([false, true, true]);
      await again.loraFiles.undo([own.id]);
      expect(existsSync(own.file)).toBe(true);
    },
  );

  test('what another living process moves is left to it', async () => {
    const { library, folder, data } = await fresh();
    const own = await library.loraFiles.bringIn(makeLora(join(folder, 'a.safetensors'), 1), 'copied');
    library.database.run('UPDATE loras SET moving_to = ?, moving_pid = ? WHERE id = ?', ['trash/1/a.safetensors', process.ppid, own.id]); // prettier-ignore
    expect(await library.loraFiles.recover()).toBe(0);
    expect(existsSync(join(data, 'loras', 'a.safetensors'))).toBe(true);
  });

  test('what a dead process has begun that had our id, as the last start of a container, is finished', async () => {
    const { library, folder, data } = await fresh();
    const own = await library.loraFiles.bringIn(makeLora(join(folder, 'a.safetensors'), 1), 'copied');
    library.database.run('UPDATE loras SET moving_to = ?, moving_pid = ? WHERE id = ?', ['trash/1/a.safetensors', process.pid, own.id]); // prettier-ignore
    await library.close();
    const again = await openLibrary(data);
    expect(again.loras.row(own.id)).toMatchObject({ path: 'trash/1/a.safetensors', movingTo: null });
    expect(existsSync(join(data, 'trash', '1', 'a.safetensors'))).toBe(true);
  });
});

interface Model {
  readonly id: number;
  readonly words: readonly string[];
  readonly tags: readonly string[];
  readonly rank: number;
  readonly rating: number;
  readonly favourite: boolean;
  readonly target: string;
  readonly expert: string;
  readonly added: number;
}

describe('queries', () => {
  test('agree with a plain filter of a list, page by page', async () => {
    const folder = join(base, `${count++}`);
    let now = 0;
    const library = await openLibrary(join(folder, 'data'), { now: () => now });
    const facts = makeLora(join(folder, 'one.safetensors'), 1);
    const WORDS = ['fox', 'snow', 'ink', '狐'];
    const models: Model[] = [];
    library.database.write(() => {
      for (let i = 0; i < 120; i++) {
        now = (i * 37) % 50;
        const pick = <T>(list: readonly T[], by: number): T => list[(i * by) % list.length]!;
        const file = join(folder, `${i}.safetensors`);
        writeFileSync(file, '');
        const expert = pick(['style', 'coarse'], 1);
        const own: LoraFacts = {
          ...{ ...facts, file, target: pick(['qwen-image', 'z-image', 'unknown'], 1), rank: { min: 1, max: 1 + (i % 7) } },
          metadata: { 'i2l.experts': JSON.stringify([{ id: i % 3 === 0 ? `qwen-image-i2l-${expert}` : expert, fingerprint: '', strength: 1 }]) }, // prettier-ignore
        };
        const words = [pick(WORDS, 1), pick(WORDS, 3)];
        const tags = ['red', 'blue', 'Green'].filter((_, k) => (i >> k) & 1);
        const { id } = library.loras.add(own, { name: words.join(' '), tags });
        const [rating, favourite] = [i % 6, i % 4 === 0];
        library.loras.update(id, { rating, favourite });
        models.push({ id, words, tags: tags.map((tag) => tag.toLowerCase()), rank: 1 + (i % 7), rating, favourite, target: own.target, expert, added: now }); // prettier-ignore
      }
    });
    const some = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined });
    const tags = fc.uniqueArray(fc.constantFrom('red', 'BLUE', 'green', 'none'), { maxLength: 2 });
    const queries = fc.record({
      text: fc.constantFrom('', 'fo', 'snow', '狐', 'fox ink', '***'),
      target: some(fc.constantFrom('qwen-image', 'z-image')),
      expert: some(fc.constantFrom('style', 'fine')),
      ...{ tagsAny: tags, tagsAll: tags, rankFrom: some(fc.nat(8)), rankTo: some(fc.nat(8)), addedFrom: some(fc.nat(50)) },
      ...{ favourite: some(fc.boolean()), ratingFrom: some(fc.nat(5)), addedTo: some(fc.nat(50)) },
      sort: fc.constantFrom('added', 'rank', 'rating', 'relevance'),
      order: fc.constantFrom('ascending', 'descending'),
      ...{ offset: fc.nat(20), limit: fc.integer({ min: 1, max: 60 }) },
    });
    fc.assert(
      fc.property(queries, (query) => {
        const { total, loras } = library.loras.list(query as LoraQuery);
        const expected = models.filter((model) => isWanted(model, query as LoraQuery));
        expect(total).toBe(expected.length);
        if (query.sort === 'relevance' && query.text !== '') {
          const ids = new Set(expected.map(({ id }) => id));
          expect(loras).toHaveLength(Math.max(0, Math.min(query.limit, total - query.offset)));
          expect(loras.every(({ id }) => ids.has(id))).toBe(true);
          return;
        }
        const key = (model: Model): number => (query.sort === 'relevance' ? model.added : model[query.sort as 'added' | 'rank' | 'rating']); // prettier-ignore
        const sign = query.order === 'ascending' ? 1 : -1;
        const sorted = expected.toSorted((a, b) => sign * (key(a) - key(b) || a.id - b.id));
        expect(loras.map(({ id }) => id)).toEqual(sorted.slice(query.offset, query.offset + query.limit).map(({ id }) => id));
      }),
      { numRuns: 300 },
    );
    for (const text of ['" OR 1', 'name:x', 'NEAR(', '\0', '*', "'; --"]) expect(() => library.loras.list({ text, sort: 'relevance' })).not.toThrow(); // prettier-ignore
  });
});

function isWanted(model: Model, query: LoraQuery): boolean {
  const {
    text = '',
    target,
    expert,
    tagsAny = [],
    tagsAll = [],
    rankFrom,
    rankTo,
    favourite,
    ratingFrom,
    addedFrom,
    addedTo,
  } = query;
  const typed = text.split(' ').filter(Boolean);
  const last = typed.at(-1) ?? '';
  const hasWords =
    text !== '***' &&
    typed.slice(0, -1).every((word) => model.words.includes(word)) &&
    (last === '' || model.words.some((word) => word.startsWith(last)));
  const has = (tag: string): boolean => model.tags.includes(tag.toLowerCase());
  return (
    hasWords &&
    (target === undefined || model.target === target) &&
    (expert === undefined || model.expert === expert) &&
    (tagsAny.length === 0 || tagsAny.some(has)) &&
    tagsAll.every(has) &&
    model.rank >= (rankFrom ?? 0) &&
    model.rank <= (rankTo ?? Infinity) &&
    model.added >= (addedFrom ?? 0) &&
    model.added <= (addedTo ?? Infinity) &&
    model.rating >= (ratingFrom ?? 0) &&
    (favourite === undefined || model.favourite === favourite)
  );
}
