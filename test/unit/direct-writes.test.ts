import fc from 'fast-check';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DirectWrites } from '../../main/weights/direct-writes.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { SafetensorsWriter } from '../../main/weights/write-safetensors.ts';
import { thrownBy } from './errors.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const MIB = 2 ** 20;
const O_DIRECT = 0o40000;
const isLinux = process.platform === 'linux';

/** Blocks of a page, at a page. */
function smallBlocks(count: number): Uint8Array[] {
  const { buffer } = new WebAssembly.Memory({ initial: 1 });
  return Array.from({ length: count }, (_, i) => new Uint8Array(buffer, 4096 * i, 4096));
}

function randomBytes(length: number, seed = 1): Uint8Array {
  const next = mulberry32(seed);
  return Uint8Array.from({ length }, () => 256 * next());
}

/** Of this process: which files are open, and how. */
function openFlags(path: string): number[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).replace(' (deleted)', '') !== path) return [];
      return [Number.parseInt(/flags:\t(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8)];
    } catch {
      return []; // That of the listing itself.
    }
  });
}

interface Written {
  readonly content: Buffer;
  /** Bytes that were written plainly. */
  readonly plain: number;
}

/** Writes pieces as they come; what is not taken is written plainly, as its owner does. */
async function written(flags: number | 'r', first: number, size: number, pieces: readonly (readonly [number, number])[]): Promise<Written> {
  const path = join(mkdtempSync(join(folder, 'case-')), 'file');
  writeFileSync(path, new Uint8Array(size));
  const [direct, plainly] = [openSync(path, flags), openSync(path, 'r+')];
  let plain = 0;
  const write = (bytes: Uint8Array, position: number): void => {
    plain += writeSync(plainly, bytes, 0, bytes.length, position);
  };
  const writes = new DirectWrites(direct, first, write, smallBlocks(3), () => undefined);
  const content = randomBytes(size);
  for (const [begin, end] of pieces) if (!writes.take(content.subarray(begin, end), begin)) write(content.subarray(begin, end), begin);
  await writes.settle();
  closeSync(plainly);
  const whole = Buffer.alloc(size);
  for (const [begin, end] of pieces) whole.set(content.subarray(begin, end), begin);
  expect(readFileSync(path).equals(whole)).toBe(true);
  return { content: whole, plain };
} // prettier-ignore

const WRITE_DIRECTLY = 1 | (isLinux ? O_DIRECT : 0);

describe('pieces', () => {
  /** Places that cut a file into pieces, of which some are left out. */
  const cuts = fc.tuple(fc.nat(9000), fc.uniqueArray(fc.nat(60_000), { minLength: 1, maxLength: 20 }), fc.infiniteStream(fc.boolean()));

  test.each([['written past the cache', WRITE_DIRECTLY], ['that the system refuses to write so', 'r'] as const])('%s: each byte is where it belongs', async (_, flags) => {
    const property = fc.asyncProperty(cuts, async ([first, places, isThere]) => {
      const sorted = [first, ...places.filter((place) => place > first).sort((a, b) => a - b)];
      const pieces = sorted.slice(1).map((end, i) => [sorted[i] as number, end] as const);
      await written(flags, first, 60_000, pieces.filter(() => isThere.next().value));
    });
    await fc.assert(property, { numRuns: 60, seed: 1 });
  });

  test('that follow one another are written in whole blocks, all but the first and the last page', async () => {
    const pieces = Array.from({ length: 100 }, (_, i) => [100 + 777 * i, 100 + 777 * (i + 1)] as const);
    expect((await written(WRITE_DIRECTLY, 100, 80_000, pieces)).plain).toBe(3996 + ((100 + 77_700) % 4096));
    expect((await written('r', 100, 80_000, pieces)).plain).toBe(77_700);
  });

  test('that are large go past the cache also elsewhere', async () => {
    const { plain } = await written(WRITE_DIRECTLY, 0, 4 * MIB, [[0, 100], [MIB + 5, 3 * MIB]]); // prettier-ignore
    expect(plain).toBe(100 + 4091);
  });
}); // prettier-ignore

test('what can’t be written plainly either is an error, now or at the end', async () => {
  const path = join(folder, 'full');
  writeFileSync(path, '');
  const fail = (): never => {
    throw new Error('full');
  };
  const failing = (): DirectWrites => new DirectWrites(openSync(path, 'r'), 0, fail, smallBlocks(2), () => undefined);
  const late = failing();
  late.take(new Uint8Array(4096), 0);
  await expect(late.settle()).rejects.toThrow('full');
  const soon = failing();
  expect(() => soon.take(new Uint8Array(20_000), 0)).toThrow('full');
  for (const writes of [late, soon]) writes.abort();
});

describe.runIf(isLinux)('a large safetensors file', () => {
  const spec = { name: 'a', dtype: 'U8', shape: [130 * MIB + 3] } as const;
  const writer = (name: string): SafetensorsWriter => {
    const made = new SafetensorsWriter(join(folder, name), [spec, { name: 'b', dtype: 'F32', shape: [1] }], {
      hash: '#'.repeat(8),
    });
    made.writePastCache();
    return made;
  };

  test('is written past the cache, and its header after it', async () => {
    const one = writer('one.safetensors');
    expect(openFlags(one.temporary).map((flags) => (flags & O_DIRECT) > 0)).toEqual([false, true]);
    const piece = randomBytes(5 * MIB + 1);
    for (let at = 0; at < spec.shape[0]; at += piece.length) one.write('a', piece.subarray(0, spec.shape[0] - at), at);
    one.write('b', new Uint8Array(4).fill(7));
    expect(thrownBy(() => one.finish()).message).toContain('on their way');
    const two = writer('two.safetensors');
    expect(thrownBy(() => two.patchHeader('########', '01234567')).message).toContain('on their way');
    two.abort();
    await one.settled(); // The failed end closed it.
    expect(readdirSync(folder).filter((name) => name.startsWith('one') || name.startsWith('two'))).toEqual([]);

    const three = writer('three.safetensors');
    for (let at = 0; at < spec.shape[0]; at += piece.length) three.write('a', piece.subarray(0, spec.shape[0] - at), at);
    three.write('b', new Uint8Array(4).fill(7));
    await three.settled();
    three.patchHeader('########', '01234567');
    three.finish();
    const { metadata, dataOffset, tensors } = readSafetensors(three.path);
    expect([metadata, [...tensors.keys()]]).toEqual([{ hash: '01234567' }, ['a', 'b']]);
    const content = readFileSync(three.path);
    const wanted = Buffer.alloc(spec.shape[0] + 4, 7);
    for (let at = 0; at < spec.shape[0]; at += piece.length) wanted.set(piece.subarray(0, spec.shape[0] - at), at);
    expect(content.subarray(dataOffset).equals(wanted)).toBe(true);
  });

  test('beside two others goes through the cache; one that is given up makes place, and leaves nothing', async () => {
    const writers = ['1', '2', '3'].map(writer);
    const areDirect = (): boolean[] => writers.map(({ temporary }) => openFlags(temporary).some((flags) => (flags & O_DIRECT) > 0));
    expect(areDirect()).toEqual([true, true, false]);
    writers[0]?.write('a', randomBytes(20 * MIB));
    writers[0]?.abort();
    await expect.poll(areDirect).toEqual([false, true, false]);
    writers.push(writer('4'));
    expect(areDirect()).toEqual([false, true, false, true]);
    for (const one of writers) one.abort();
    await expect.poll(areDirect).toEqual([false, false, false, false]);
    expect(writers.map(({ temporary }) => openFlags(temporary).length)).toEqual([0, 0, 0, 0]);
    expect(readdirSync(folder).filter((name) => /^[1-4]/.test(name))).toEqual([]);
  });
});
