import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { removeStaleParts } from '../../main/weights/stale-files.ts';
import { SafetensorsWriter, temporaryPath, writeSafetensors, type TensorSpec } from '../../main/weights/write-safetensors.ts';
import { expectRefusal, thrownBy } from './errors.ts';
import { tempFolder } from './temp.ts';

const root = tempFolder();
const freshFolder = (): string => mkdtempSync(join(root, 'case-'));

const A: TensorSpec = { name: 'a', dtype: 'F32', shape: [2] };
const B: TensorSpec = { name: 'b', dtype: 'BF16', shape: [3] };
const ONES = new Uint8Array(8).fill(1);
const TWOS = new Uint8Array(6).fill(2);

describe('SafetensorsWriter', () => {
  test('tensors come in any order and in pieces', () => {
    const path = join(freshFolder(), 'x.safetensors');
    const writer = new SafetensorsWriter(path, [A, B]);
    writer.write('b', TWOS.subarray(0, 2), 4);
    writer.write('a', ONES);
    writer.write('b', TWOS.subarray(0, 4));
    writer.finish();
    const { dataOffset } = readSafetensors(path);
    expect(readFileSync(path).subarray(dataOffset)).toEqual(Buffer.concat([ONES, TWOS]));
    expect(writer.size).toBe(dataOffset + 14);
    expect([writer.slot('a'), writer.slot('b')]).toEqual([
      { offset: dataOffset, length: 8 },
      { offset: dataOffset + 8, length: 6 },
    ]);
  });

  test.each(Array.from({ length: 8 }, (_, i) => 'n'.repeat(i + 1)))(
    'the data starts at a multiple of 8, with the name %s',
    (name) => {
      const path = join(freshFolder(), 'x.safetensors');
      writeSafetensors(path, [{ ...A, name, bytes: ONES }]);
      expect(readSafetensors(path).dataOffset % 8).toBe(0);
    },
  );

  test('until it is finished there is no file, and its temporary is beside the target', () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    const writer = new SafetensorsWriter(path, [A]);
    writer.write('a', ONES);
    expect(readdirSync(folder)).toEqual([basename(writer.temporary)]);
    expect(writer.temporary).toMatch(new RegExp(`x\\.safetensors\\.${process.pid}-\\d+\\.i2l-part$`));
    writer.finish();
    expect(readdirSync(folder)).toEqual(['x.safetensors']);
  });

  test('an abort leaves the old target and nothing else', () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    writeFileSync(path, 'old');
    const writer = new SafetensorsWriter(path, [A]);
    writer.write('a', ONES);
    expect(readFileSync(path, 'utf8')).toBe('old');
    writer.abort();
    writer.abort();
    expect(readdirSync(folder)).toEqual(['x.safetensors']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test('a finish replaces the old target, and a late abort leaves it', () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    writeFileSync(path, 'old');
    const writer = new SafetensorsWriter(path, [A]);
    writer.write('a', ONES);
    writer.finish();
    writer.abort();
    expect(readSafetensors(path).tensors.size).toBe(1);
    expect(readdirSync(folder)).toEqual(['x.safetensors']);
  });

  test.each([
    ['nothing of a tensor', [A, B], 'b', 6],
    ['half of a tensor', [B, A], 'a', 4],
  ])('%s came: no file, and the old target stays', (_name, layout, missing, bytes) => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    writeFileSync(path, 'old');
    const writer = new SafetensorsWriter(path, layout);
    writer.write(missing === 'a' ? 'b' : 'a', missing === 'a' ? TWOS : ONES);
    if (missing === 'a') writer.write('a', ONES.subarray(0, 4));
    const error = thrownBy(() => writer.finish());
    expect(error).toMatchObject({ code: 'INTERNAL', fields: { tensor: missing } });
    expect(error.message).toBe(`${path}: ${bytes} bytes of "${missing}" were never written.`);
    expect(readdirSync(folder)).toEqual(['x.safetensors']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test('a tensor without values needs no bytes', () => {
    const path = join(freshFolder(), 'x.safetensors');
    new SafetensorsWriter(path, [{ name: 'none', dtype: 'F32', shape: [0, 4] }]).finish();
    expect(readSafetensors(path).tensors.get('none')?.length).toBe(0);
  });

  const closed = (end: 'finish' | 'abort') => (): unknown => {
    const writer = new SafetensorsWriter(join(freshFolder(), 'x.safetensors'), [A]);
    writer.write('a', ONES);
    writer[end]();
    return writer.write('a', ONES);
  };
  const writing = (name: string, bytes: Uint8Array, at?: number) => (): unknown => {
    const writer = new SafetensorsWriter(join(freshFolder(), 'x.safetensors'), [A, B]);
    try {
      return writer.write(name, bytes, at);
    } finally {
      writer.abort();
    }
  };
  test.each<[string, () => unknown, RegExp]>([
    ['more bytes than a tensor has', writing('a', new Uint8Array(9)), /8 bytes; 9 at 0 do not fit/],
    ['bytes past its end', writing('a', ONES, 1), /8 bytes; 8 at 1 do not fit/],
    ['bytes before its start', writing('b', TWOS, -1), /6 bytes; 6 at -1 do not fit/],
    ['a tensor that is not in the layout', writing('c', ONES), /"c" is not in the layout/],
    ['writing after the finish', closed('finish'), /is closed/],
    ['writing after an abort', closed('abort'), /is closed/],
    ['a name that stands twice', () => new SafetensorsWriter(join(freshFolder(), 'x'), [A, A]), /"a" stands twice/],
    [
      'a tensor called __metadata__',
      () => new SafetensorsWriter(join(freshFolder(), 'x'), [{ ...A, name: '__metadata__' }]),
      /__metadata__/,
    ],
  ])('refuses %s', (_name, action, says) => {
    const error = thrownBy(action);
    expect(error.code).toBe('INTERNAL');
    expect(error.message).toMatch(says);
  });

  test('a layout that is refused leaves no file', () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    thrownBy(() => writeSafetensors(path, [{ ...A, bytes: new Uint8Array(9) }]));
    thrownBy(() => writeSafetensors(path, [{ ...A, bytes: ONES }, { ...A, bytes: ONES }])); // prettier-ignore
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a target that can not be replaced: the temporary goes', () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    mkdirSync(join(path, 'full'), { recursive: true });
    const writer = new SafetensorsWriter(path, [A]);
    writer.write('a', ONES);
    expectRefusal(
      thrownBy(() => writer.finish()),
      'FILE_WRITE_FAILED',
      path,
      /can't be written/,
    );
    expect(readdirSync(folder)).toEqual(['x.safetensors']);
  });

  test('a folder that does not exist', () => {
    const path = join(root, 'nowhere', 'x.safetensors');
    expectRefusal(
      thrownBy(() => new SafetensorsWriter(path, [A])),
      'FILE_NOT_FOUND',
      path,
      /no such file or folder/,
    );
  });

  test("another writer's temporary is neither taken over nor removed", () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    const temporary = join(folder, 'theirs');
    writeFileSync(temporary, 'theirs');
    expectRefusal(
      thrownBy(() => new SafetensorsWriter(path, [A], {}, temporary)),
      'FILE_WRITE_FAILED',
      path,
      /can't be written/,
    );
    expect(readFileSync(temporary, 'utf8')).toBe('theirs');
    expect(temporaryPath(path)).not.toBe(temporaryPath(path));
  });

  test('the same content gives the same bytes, in whatever order its metadata comes', () => {
    const folder = freshFolder();
    const tensors = [{ ...A, bytes: ONES }, { ...B, bytes: TWOS }]; // prettier-ignore
    const bytesOf = (name: string, metadata: Record<string, string>): Buffer => {
      writeSafetensors(join(folder, name), tensors, metadata);
      return readFileSync(join(folder, name));
    };
    const first = bytesOf('1', { b: '2', a: '1', é: '3' });
    expect(bytesOf('2', { é: '3', a: '1', b: '2' })).toEqual(first);
    expect(first.toString()).toContain('{"__metadata__":{"a":"1","b":"2","é":"3"},"a":{');
    expect(bytesOf('3', {}).toString()).not.toContain('__metadata__');
  });

  test('a text in the header is replaced everywhere by another of its length', () => {
    const path = join(freshFolder(), 'x.safetensors');
    const [zeros, hash] = ['0'.repeat(64), 'abcd'.repeat(16)];
    const writer = new SafetensorsWriter(path, [A], { hash: zeros, note: `is ${zeros}.`, other: 'o' });
    writer.write('a', ONES);
    expect(() => writer.patchHeader(zeros, 'short')).toThrow(RangeError);
    expect(() => writer.patchHeader('1'.repeat(64), hash)).toThrow(RangeError);
    writer.patchHeader(zeros, zeros);
    writer.patchHeader(zeros, hash);
    writer.finish();
    const { metadata, dataOffset } = readSafetensors(path);
    expect(metadata).toEqual({ hash, note: `is ${hash}.`, other: 'o' });
    expect(readFileSync(path).subarray(dataOffset)).toEqual(Buffer.from(ONES));
  });
});

describe('removeStaleParts', () => {
  /** A process that was, and is no more. */
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const alive = process.pid;
  const part = (name: string, pid: number | string, count: number | string = 0): string => `${name}.${pid}-${count}.i2l-part`;

  function filled(...names: string[]): string {
    const folder = freshFolder();
    for (const name of names) writeFileSync(join(folder, name), '');
    return folder;
  }

  const others = [
    'x.safetensors',
    part('y.safetensors', dead),
    part('xxsafetensors', dead),
    part('ax.safetensors', dead),
    part('x.safetensors', 'abc'),
    part('x.safetensors', dead, ''),
    `${part('x.safetensors', dead)}.bak`,
  ];

  test('removes those of dead processes, and only those of this target', () => {
    const mine = part('x.safetensors', alive, 3);
    const stale = [part('x.safetensors', dead), part('x.safetensors', dead, 12), part('x.safetensors', 4_000_000_000)];
    const folder = filled(...others, mine, ...stale);
    expect(removeStaleParts(join(folder, 'x.safetensors')).sort()).toEqual(stale.sort());
    expect(readdirSync(folder).sort()).toEqual([...others, mine].sort());
  });

  test('and those of a dead process that had our id, as the last start of a container: older than we are', () => {
    const [left, mine] = [part('x.safetensors', alive), part('x.safetensors', alive, 1)];
    const folder = filled(left, mine);
    const before = performance.timeOrigin / 1000 - 3;
    utimesSync(join(folder, left), before, before);
    expect(removeStaleParts(join(folder, 'x.safetensors'))).toEqual([left]);
    expect(readdirSync(folder)).toEqual([mine]);
  });

  test('with an owner, those of it alone', () => {
    const theirs = part('x.safetensors', dead + 1_000_000_000);
    const folder = filled(...others, theirs, part('x.safetensors', dead));
    expect(removeStaleParts(join(folder, 'x.safetensors'), dead)).toEqual([part('x.safetensors', dead)]);
    expect(existsSync(join(folder, theirs))).toBe(true);
  });

  test('a name that means something in a regular expression', () => {
    const name = 'a+(b)[c].$^|.safetensors';
    const folder = filled(part(name, dead), part('aa(b)c', dead));
    expect(removeStaleParts(join(folder, name))).toEqual([part(name, dead)]);
  });

  test('a half-written folder goes with what is in it; a missing folder is no error', () => {
    const folder = freshFolder();
    mkdirSync(join(folder, part('x', dead), 'full'), { recursive: true });
    mkdirSync(join(folder, part('x', alive), 'full'), { recursive: true });
    expect(removeStaleParts(join(folder, 'x'))).toEqual([part('x', dead)]);
    expect(readdirSync(folder)).toEqual([part('x', alive)]);
    expect(removeStaleParts(join(folder, 'nowhere', 'x'))).toEqual([]);
  });

  test('what a killed writer leaves is found by its name', () => {
    const folder = freshFolder();
    const path = join(folder, 'x.safetensors');
    const writer = new URL('../../main/weights/write-safetensors.ts', import.meta.url).href;
    const script = `import { SafetensorsWriter } from ${JSON.stringify(writer)};
      new SafetensorsWriter(${JSON.stringify(path)}, [{ name: 'a', dtype: 'F32', shape: [1000] }]);
      process.kill(process.pid, 'SIGKILL');`;
    spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    expect(readdirSync(folder)).toHaveLength(1);
    expect(removeStaleParts(path)).toHaveLength(1);
    expect(readdirSync(folder)).toEqual([]);
  });
});
