import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { outputOf, parseShard, readBatch, shardOf } from '../../main/pipelines/batch.ts';
import { thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const folder = tempFolder();

function tree(name: string, files: readonly string[]): string {
  const root = join(folder, name);
  for (const file of files) {
    mkdirSync(join(root, file, '..'), { recursive: true });
    writeFileSync(join(root, file), '');
  }
  return root;
}

function manifest(name: string, lines: readonly string[]): string {
  const file = join(folder, name);
  writeFileSync(file, lines.join('\n'));
  return file;
}

describe('a folder of folders', () => {
  test('each sub-folder with images is a set, in the order of their numbers', () => {
    const root = tree('styles', [
      'ink 10/b.PNG',
      'ink 2/2.jpg',
      'ink 2/10.jpg',
      'ink 2/notes.txt',
      'empty/readme.md',
      '.hidden/a.jpg',
      'loose.jpg',
    ]);
    const { sets, empty } = readBatch(root);
    expect(empty).toEqual(['empty']);
    expect(sets).toEqual([
      { name: 'ink 2', images: ['2.jpg', '10.jpg'].map((file) => ({ file: join(root, 'ink 2', file), weight: 1 })) },
      { name: 'ink 10', images: [{ file: join(root, 'ink 10', 'b.PNG'), weight: 1 }] },
    ]);
  });

  test('one without any is refused', () => {
    expect(thrownBy(() => readBatch(tree('none', ['a.jpg']))).code).toBe('NO_IMAGES');
    expect(thrownBy(() => readBatch(join(folder, 'nowhere'))).code).toBe('FILE_NOT_FOUND');
  });
});

describe('a manifest', () => {
  test('has a set a line; paths are relative to it', () => {
    tree('photos', ['1.jpg', '2.jpg']);
    const file = manifest('sets.jsonl', [
      '\uFEFF{"name": "水墨", "images": ["photos/1.jpg", {"file": "photos/2.jpg", "weight": 0.5}]}',
      '',
      '{"name": "all", "folder": "photos"}\r',
    ]);
    const at = (name: string): string => join(folder, 'photos', name);
    expect(readBatch(file).sets).toEqual([
      { name: '水墨', images: [{ file: at('1.jpg'), weight: 1 }, { file: at('2.jpg'), weight: 0.5 }] },
      { name: 'all', images: [{ file: at('1.jpg'), weight: 1 }, { file: at('2.jpg'), weight: 1 }] },
    ]); // prettier-ignore
  });

  test.each([
    ['not JSON', 'ink: a.jpg', /line 2: it is not JSON/],
    ['no name', '{"images": ["a.jpg"]}', /line 2: name: /],
    ['no images', '{"name": "b", "images": []}', /line 2: images: /],
    ['both images and folder', '{"name": "b", "images": ["a.jpg"], "folder": "photos"}', /line 2: expected either/],
    ['a weight below 0', '{"name": "b", "images": [{"file": "a.jpg", "weight": -1}]}', /line 2: images: /],
    ['a weight above 1000', '{"name": "b", "images": [{"file": "a.jpg", "weight": 1e308}]}', /line 2: images: /],
    ['a word that is not known', '{"name": "b", "images": ["a.jpg"], "imgs": 1}', /line 2: .*imgs/],
    ['an empty folder', '{"name": "b", "folder": "empty"}', /line 2: there is no image in/],
  ])('%s is refused with its line', (_, line, says) => {
    mkdirSync(join(folder, 'empty'), { recursive: true });
    const error = thrownBy(() => readBatch(manifest('bad.jsonl', ['{"name": "a", "images": ["a.jpg"]}', line])));
    expect(error.code).toBe('BAD_ARGUMENT');
    expect(error.message).toMatch(says);
    expect(error.fields).toMatchObject({ line: 2 });
  });

  test('two names that would be one file are refused, and an empty manifest', () => {
    const twice = manifest('twice.jsonl', ['{"name": "a:b", "images": ["1"]}', '{"name": "A-B", "images": ["1"]}']);
    expect(thrownBy(() => readBatch(twice)).message).toMatch(/"a:b" and "A-B" would be written to the same file/);
    expect(thrownBy(() => readBatch(manifest('empty.jsonl', ['', ' ']))).code).toBe('NO_IMAGES');
  });

  test('a name that leads elsewhere stays in the folder', () => {
    expect(outputOf('out', { name: '../../etc/passwd', images: [] })).toBe(join('out', '-..-etc-passwd.safetensors'));
  });
});

describe('shards', () => {
  test('every set is in exactly one, and they are of equal size', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string()), fc.integer({ min: 1, max: 20 }), (sets, count) => {
        const shards = Array.from({ length: count }, (_, i) => shardOf(sets, { index: i + 1, count }));
        expect(shards.flat().sort()).toEqual([...sets].sort());
        const sizes = shards.map((shard) => shard.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test.each([
    ['as written', '2/3', {}, { index: 2, count: 3 }],
    ['nothing said: all', undefined, {}, { index: 1, count: 1 }],
    ['a Slurm array from 0', undefined, { SLURM_ARRAY_TASK_ID: '3', SLURM_ARRAY_TASK_MIN: '0', SLURM_ARRAY_TASK_COUNT: '4' }, { index: 4, count: 4 }],
    ['one from 1, in steps', 'auto', { SLURM_ARRAY_TASK_ID: '5', SLURM_ARRAY_TASK_MIN: '1', SLURM_ARRAY_TASK_STEP: '2', SLURM_ARRAY_TASK_COUNT: '4' }, { index: 3, count: 4 }],
    ['an indexed job', 'auto/8', { JOB_COMPLETION_INDEX: '7' }, { index: 8, count: 8 }],
    ['what is written goes first', '1/1', { JOB_COMPLETION_INDEX: '7' }, { index: 1, count: 1 }],
  ])('%s', (_, text, env, shard) => expect(parseShard(text, env)).toEqual(shard)); // prettier-ignore

  test.each([
    ['4/3', {}],
    ['0/3', {}],
    ['2', {}],
    ['a/b', {}],
    ['auto', {}],
    ['auto/4', {}],
    [undefined, { JOB_COMPLETION_INDEX: '0' }],
    ['auto/4', { JOB_COMPLETION_INDEX: '4' }],
  ])('%s with %o is refused', (text, env) => {
    const error = thrownBy(() => parseShard(text, env));
    expect([error.code, error.fields['option']]).toEqual(['BAD_ARGUMENT', 'shard']);
  });
});
