import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../main/contract/errors.ts';
import { Checkpoint, shardNames } from '../../main/weights/checkpoint.ts';
import { fingerprintOf } from '../../main/weights/fingerprint.ts';
import { readTensorBytes } from '../../main/weights/safetensors.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { expectRefusal, thrownBy } from './errors.ts';
import { tempFolder } from './temp.ts';

const root = tempFolder();
const [ONE, TWO] = ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors'];

/** Shards by file name and their tensors' names; each tensor is four bytes, the first its name's. */
type Shards = Readonly<Record<string, readonly string[]>>;
const GOOD: Shards = { [ONE]: ['a', 'b'], [TWO]: ['c'] };
const GOOD_MAP = { a: ONE, b: ONE, c: TWO };

/** @param index its text, or what its JSON holds. @returns the index's path */
function sharded(shards: Shards, index: unknown): string {
  const folder = mkdtempSync(join(root, 'case-'));
  for (const [file, names] of Object.entries(shards)) {
    const tensors = names.map((name) => ({ name, dtype: 'F32' as const, shape: [1], bytes: Buffer.from(name.padEnd(4)) }));
    writeSafetensors(join(folder, file), tensors);
  }
  const path = join(folder, 'm.safetensors.index.json');
  writeFileSync(path, typeof index === 'string' ? index : JSON.stringify(index));
  return path;
}

describe('a sharded checkpoint', () => {
  test('is one model: names, ranges, layout and size are those of all shards', () => {
    const checkpoint = Checkpoint.open(sharded(GOOD, { metadata: { total_size: 12 }, weight_map: GOOD_MAP }));
    expect([...checkpoint.names].sort()).toEqual(['a', 'b', 'c']);
    expect(
      ['a', 'b', 'c'].map((name) =>
        readTensorBytes(checkpoint.tensor(name, [1]))
          .toString()
          .trim(),
      ),
    ).toEqual(['a', 'b', 'c']);
    expect(checkpoint.tensor('c', [1]).file.endsWith(TWO)).toBe(true);
    expect(checkpoint.fingerprint()).toBe(fingerprintOf(['c', 'a', 'b'].map((name) => ({ name, shape: [1] }))));
    expect(checkpoint.size).toBe(checkpoint.files.reduce((sum, { size }) => sum + size, 0));
    expect(checkpoint.has('d') || checkpoint.entry('d')).toBe(undefined);
  });

  test.each([ONE, TWO])('whose index was left out is opened by the name of a shard, %s', (name) => {
    const folder = join(sharded(GOOD, ''), '..');
    const checkpoint = Checkpoint.open(join(folder, name));
    expect([...checkpoint.names].sort()).toEqual(['a', 'b', 'c']);
    expect(checkpoint.files).toHaveLength(2);
    const twice = join(sharded({ ...GOOD, [TWO]: ['c', 'a'] }, ''), '..', name);
    expectRefusal(
      thrownBy(() => Checkpoint.open(twice)),
      'SAFETENSORS_INDEX',
      twice,
      /same name/,
    );
    const incomplete = join(sharded({ [name]: ['a'] }, ''), '..');
    const other = join(incomplete, name === ONE ? TWO : ONE);
    expectRefusal(
      thrownBy(() => Checkpoint.open(join(incomplete, name))),
      'FILE_NOT_FOUND',
      other,
      /no such file/,
    );
  });

  test('shards are counted from 1, and to the number in their names', () => {
    expect(shardNames('a-00002-of-00003.safetensors')).toEqual([1, 2, 3].map((at) => `a-0000${at}-of-00003.safetensors`));
    for (const alone of ['a.safetensors', 'a-00000-of-00002.safetensors', 'a-00003-of-00002.safetensors', 'a-1-of-2.safetensors']) {
      expect(shardNames(alone)).toBeUndefined();
    }
    expect(shardNames('a-00001-of-99999.safetensors')).toBeUndefined();
  });

  const map = (change: object): object => ({ weight_map: { ...GOOD_MAP, ...change } });
  const beside = (shard: unknown): [Shards, unknown] => [GOOD, map({ a: shard })];
  test.each<[string, Shards, unknown, RegExp]>([
    ['a tensor of the index that no shard has', GOOD, map({ d: TWO }), /"d" is not in m-00002/],
    ['a tensor of the index that another shard has', GOOD, map({ a: TWO }), /"a" is not in m-00002/],
    ['a tensor of a shard that the index lacks', { ...GOOD, [TWO]: ['c', 'd'] }, map({}), /"d" is in a shard and not in the index/],
    ['a tensor in two shards', { ...GOOD, [TWO]: ['c', 'a'] }, map({}), /hold a tensor of the same name/],
    ['a shard in the folder above', ...beside('../x.safetensors'), /"a" points to "\.\.\/x\.safetensors"/],
    ['a shard in a folder below', ...beside('below/x.safetensors'), /not a \.safetensors file beside it/],
    ['a shard by absolute path', ...beside('/etc/x.safetensors'), /not a \.safetensors file beside it/],
    ['a shard that is the folder', ...beside('..'), /not a \.safetensors file beside it/],
    ['a shard of another kind', ...beside('passwd'), /not a \.safetensors file beside it/],
    ['a shard that is a number', ...beside(1), /not a \.safetensors file beside it/],
    [
      'a shard nested 100000 deep',
      GOOD,
      `{"weight_map":{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}}`,
      /not a \.safetensors file beside it/,
    ],
    ['a shard of a million letters', ...beside('x'.repeat(1e6)), /not a \.safetensors file beside it/],
    ['text that is not JSON', GOOD, '{"weight_map":', /not valid JSON/],
    ['no text', GOOD, '', /not valid JSON/],
    ['JSON null', GOOD, 'null', /no weight_map/],
    ['no weight_map', GOOD, {}, /no weight_map/],
    ['a weight_map that is an array', GOOD, { weight_map: [ONE] }, /no weight_map/],
    ['an empty weight_map', GOOD, { weight_map: {} }, /weight_map is empty/],
  ])('refuses %s', (_name, shards, index, says) => {
    const path = sharded(shards, index);
    expectRefusal(
      thrownBy(() => Checkpoint.open(path)),
      'SAFETENSORS_INDEX',
      path,
      says,
    );
  });

  test('a missing shard and a damaged shard are named themselves', () => {
    const path = sharded({ [ONE]: ['a', 'b'] }, { weight_map: GOOD_MAP });
    const shard = join(path, '..', TWO);
    expectRefusal(
      thrownBy(() => Checkpoint.open(path)),
      'FILE_NOT_FOUND',
      shard,
      /no such file/,
    );
    writeFileSync(shard, 'damaged');
    expectRefusal(
      thrownBy(() => Checkpoint.open(path)),
      'SAFETENSORS_HEADER',
      shard,
      /has 7 bytes/,
    );
  });

  test('an index that is missing, or a folder', () => {
    const [missing, folder] = [join(root, 'none.index.json'), join(root, 'folder.index.json')];
    mkdirSync(folder);
    expectRefusal(
      thrownBy(() => Checkpoint.open(missing)),
      'FILE_NOT_FOUND',
      missing,
      /no such file/,
    );
    expectRefusal(
      thrownBy(() => Checkpoint.open(folder)),
      'FILE_UNREADABLE',
      folder,
      /it is a folder/,
    );
  });
});

describe('a tensor of a checkpoint', () => {
  const path = join(root, 'one.safetensors');
  writeSafetensors(path, [{ name: 'w', dtype: 'F16', shape: [2, 3], bytes: new Uint8Array(12) }]);
  const checkpoint = Checkpoint.open(path);

  test('comes with the shape that is asked for', () => {
    expect(checkpoint.tensor('w', [2, 3])).toMatchObject({ name: 'w', dtype: 'F16', shape: [2, 3], file: path, length: 12 });
  });

  test.each<[string, readonly number[], ErrorCode, RegExp]>([
    ['x', [2, 3], 'TENSOR_MISSING', /"x" is missing/],
    ['__proto__', [2, 3], 'TENSOR_MISSING', /"__proto__" is missing/],
    ['w', [3, 2], 'TENSOR_SHAPE', /expected shape \[3, 2\] and got \[2, 3\]/],
    ['w', [6], 'TENSOR_SHAPE', /expected shape \[6\]/],
    ['w', [], 'TENSOR_SHAPE', /expected shape \[\]/],
    ['w', [2, 3, 1], 'TENSOR_SHAPE', /expected shape \[2, 3, 1\]/],
  ])('%s %j is refused', (name, shape, code, says) => {
    expectRefusal(
      thrownBy(() => checkpoint.tensor(name, shape)),
      code,
      path,
      says,
    );
  });
});

describe('fingerprint', () => {
  // md5 of 'a,a:2_3,b,b:' and of two names that UTF-16 and code points order differently, by another program.
  test.each<[string, Parameters<typeof fingerprintOf>[0], string]>([
    ['a matrix and a scalar', [{ name: 'b', shape: [] }, { name: 'a', shape: [2, 3] }], '0dbfa13cd5164fa3455b49d3e0e6496a'],
    ['names beyond the basic plane', [{ name: '\u{1f600}', shape: [1] }, { name: '\uff01', shape: [1] }], 'b22f846a472f40d2f18e255caa1e5543'],
    ['nothing', [], 'd41d8cd98f00b204e9800998ecf8427e'],
  ])('of %s', (_name, layout, md5) => {
    expect(fingerprintOf(layout)).toBe(md5);
    expect(fingerprintOf(layout.toReversed())).toBe(md5);
  });
}); // prettier-ignore
