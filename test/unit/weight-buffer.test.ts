import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ByteRange } from '../../main/contract/tensor.ts';
import { joinedReads, readInto } from '../../main/offload/placed-reads.ts';
import { feedsFrom, layOut, roomFor, viewsOf } from '../../main/offload/weight-buffer.ts';
import type { GraphWeight } from '../../main/onnx/built-graph.ts';
import { ELEMENT } from '../../main/onnx/proto.ts';
import { thrownBy } from './errors.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const BYTES = 5000;
const files = ['a', 'b'].map((name) => join(folder, name));
files.forEach((file, i) =>
  writeFileSync(
    file,
    Uint8Array.from({ length: BYTES }, (_, at) => (7 * at + 31 * i) % 256),
  ),
);

const TYPES = [ELEMENT.FLOAT, ELEMENT.UINT16, ELEMENT.UINT8] as const;
const VALUE_BYTES = { [ELEMENT.FLOAT]: 4, [ELEMENT.UINT16]: 2, [ELEMENT.UINT8]: 1 } as const;

/** At any offset: a file need not align its tensors. */
const weights = fc
  .array(
    fc.record({
      file: fc.constantFrom(...files),
      offset: fc.nat(BYTES - 400),
      values: fc.nat(100),
      type: fc.constantFrom(...TYPES),
    }),
    { maxLength: 20 },
  )
  .map((all) =>
    all.map(({ file, offset, values, type }, i): GraphWeight => {
      const range: ByteRange = { name: `${i}`, shape: [values], file, offset, length: values * VALUE_BYTES[type] };
      return { range, input: { name: `weight_${i}`, type } };
    }),
  );

test('reads that go on in the file and in the buffer are one', () => {
  const read = (file: string, offset: number, length: number, at: number) => ({ file, offset, length, at });
  const rows = [read('a', 100, 64, 0), read('a', 164, 128, 64), read('a', 292, 64, 192)];
  expect(joinedReads([...rows, read('a', 356, 10, 320), read('b', 366, 10, 330), read('a', 376, 10, 340)])).toEqual([
    read('a', 100, 256, 0),
    read('a', 356, 10, 320),
    read('b', 366, 10, 330),
    read('a', 376, 10, 340),
  ]);
  expect(rows[0]).toEqual(read('a', 100, 64, 0));
  expect(joinedReads([])).toEqual([]);
});

test('weights come as they lie in their files, each where values of its type may start', () => {
  fc.assert(
    fc.property(weights, (all) => {
      const layout = layOut(all);
      const buffer = new ArrayBuffer(layout.bytes);
      readInto(buffer, layout.reads);
      const joined = new ArrayBuffer(layout.bytes);
      readInto(joined, joinedReads(layout.reads));
      expect(Buffer.compare(Buffer.from(joined), Buffer.from(buffer))).toBe(0);
      const feeds = feedsFrom(viewsOf(all, layout), buffer);
      for (const { range, input } of all) {
        const { data, dims } = feeds[input?.name ?? ''] ?? {};
        const bytes = data && new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        const first = files.indexOf(range.file);
        expect(Array.from(bytes ?? [])).toEqual(Array.from({ length: range.length }, (_, at) => (7 * (range.offset + at) + 31 * first) % 256));
        expect(dims).toEqual(range.shape);
      }
      const places = layout.reads.map(({ file, offset, length }) => `${file} ${offset} ${length}`);
      expect(new Set(places).size).toBe(places.length);
      expect(layout.bytes).toBeLessThanOrEqual(roomFor(all.reduce((sum, { range }) => sum + range.length, 0)));
    }),
    { seed: 4, numRuns: 200 },
  );
}); // prettier-ignore

test('a disk is read from front to back', () => {
  const at = (file: string | undefined, offset: number): GraphWeight => ({
    range: { name: 'x', shape: [1], file: file ?? '', offset, length: 1 },
    input: { name: `${file} ${offset}`, type: ELEMENT.UINT8 },
  });
  const { reads } = layOut([at(files[1], 9), at(files[0], 300), at(files[0], 20), at(files[1], 3), at(files[0], 20)]);
  expect(reads.map(({ file, offset }) => [files.indexOf(file), offset])).toEqual([[0, 20], [0, 300], [1, 3], [1, 9]]); // prettier-ignore
});

test('a file that is gone, is a folder or has become shorter is named', () => {
  const read = (file: string, offset = 0) => thrownBy(() => readInto(new ArrayBuffer(64), [{ file, offset, length: 8, at: 0 }]));
  expect(read(join(folder, 'gone'))).toMatchObject({ code: 'FILE_NOT_FOUND', fields: { file: join(folder, 'gone') } });
  expect(read(folder)).toMatchObject({ code: 'FILE_UNREADABLE', fields: { file: folder } });
  const short = read(files[0] ?? '', BYTES - 3);
  expect(short).toMatchObject({ code: 'FILE_UNREADABLE', fields: { file: files[0] } });
  expect(short.message).toContain(`ends at byte ${BYTES}`);
});

test('a weight that the runtime finds by itself is fed to no graph, nor is one that nobody reads', () => {
  const range = { name: 'mapped', shape: [1], file: files[0] ?? '', offset: 0, length: 1 };
  expect(thrownBy(() => viewsOf([{ range }], { bytes: 0, reads: [] })).message).toContain('mapped');
  const unread = { range, input: { name: 'weight_0', type: ELEMENT.UINT8 } };
  expect(thrownBy(() => viewsOf([unread], layOut([{ ...unread, range: { ...range, offset: 1 } }]))).message).toContain('no place');
});
