import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fingerprintOf } from '../../main/weights/fingerprint.ts';

/** Names and sizes sorted by code point, as Python's sorted() does it. */
function byDefinition(layout: readonly { name: string; shape: readonly number[] }[]): string {
  const points = (text: string): number[] => [...text].map((char) => char.codePointAt(0) ?? 0);
  const compare = (a: string, b: string): number => {
    const [one, two] = [points(a), points(b)];
    for (let at = 0; at < Math.min(one.length, two.length); at++) if (one[at] !== two[at]) return one[at]! - two[at]!;
    return one.length - two.length;
  };
  const entries = layout.flatMap(({ name, shape }) => [`${name}:${shape.join('_')}`, name]);
  return createHash('md5').update(entries.sort(compare).join(','), 'utf8').digest('hex');
}

const name = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\uffff', '\u{10000}', '\ue000', 'a', 'a.b', '\u{1f600}x'),
);
const layout = fc.uniqueArray(fc.record({ name, shape: fc.array(fc.nat(5000), { maxLength: 4 }) }), {
  selector: (tensor) => tensor.name,
});

test('a fingerprint is that of the entries by code point, in whatever order they come', () => {
  fc.assert(
    fc.property(layout, (tensors) => {
      expect(fingerprintOf(tensors)).toBe(byDefinition(tensors));
      expect(fingerprintOf(tensors.toReversed())).toBe(byDefinition(tensors));
    }),
  );
});
