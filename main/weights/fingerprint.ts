import { createHash } from 'node:crypto';

/** Tensor names and shapes, in any order. */
export type Layout = readonly { readonly name: string; readonly shape: readonly number[] }[];

/**
 * The fingerprint of a checkpoint's layout, as published: the md5 of one text. For every tensor it has
 * two entries, 'NAME:d0_d1_..' and 'NAME'; all entries are sorted by code point and joined by ','.
 * For a sharded model, over the union of its shards. It says nothing about the values.
 */
export function fingerprintOf(layout: Layout): string {
  const entries = layout.flatMap(({ name, shape }) => [`${name}:${shape.join('_')}`, name]);
  // JavaScript sorts by UTF-16 units, the fast way; only surrogates (and what lies behind them) come otherwise then.
  const sorted = entries.some((entry) => /[\ud800-\uffff]/.test(entry)) ? entries.sort(byCodePoint) : entries.sort();
  return createHash('md5').update(sorted.join(','), 'utf8').digest('hex');
}

function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
