import { describe, expect, test } from 'vitest';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { i2l } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { qwen25vl } from '../../main/networks/qwen25vl.ts';
import { recordLayout } from '../../main/networks/scope.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import { elementCount } from '../../main/contract/tensor.ts';
import { fingerprintOf } from '../../main/weights/fingerprint.ts';
import published from './published-layouts.json' with { type: 'json' };

/** A row of the table: name pattern, shape, and for a pattern with {i} the indices. */
type Row = readonly [string, readonly number[], (string | readonly number[])?];

function expand(rows: readonly Row[]): { name: string; shape: readonly number[] }[] {
  return rows.flatMap(([pattern, shape, range]) =>
    range === undefined
      ? [{ name: pattern, shape }]
      : indices(range).map((i) => ({ name: pattern.replace('{i}', String(i)), shape })),
  );
}

function indices(range: string | readonly number[]): readonly number[] {
  if (typeof range !== 'string') return range;
  const [first = 0, last = 0] = range.split('..').map(Number);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const networks = [siglip2, dinov3, qwen25vl, i2l] as unknown as Network<unknown>[];
const withLayout = published.models.filter((model) => 'layout' in model);

describe('layouts built from our own view of each architecture', () => {
  test('every published layout has a network that builds it', () => {
    const known = networks.flatMap((network) => Object.keys(network.published)).sort();
    expect(known).toEqual(withLayout.map(({ id }) => id).sort());
  });

  test.each(withLayout.map((model) => [model.id, model] as const))('%s', (id, model) => {
    const network = networks.find((candidate) => id in candidate.published);
    const layout = layoutOf(network as Network<unknown>, network?.published[id]);
    expect(fingerprintOf(layout)).toBe(model.fingerprint);
    expect(layout.length).toBe(model.tensors);
    expect(layout.reduce((sum, { shape }) => sum + elementCount(shape), 0)).toBe(model.parameters);
    const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
    expect(layout.toSorted(byName)).toEqual(expand(model.layout as unknown as Row[]).sort(byName));
  });

  test('what a network uses of a checkpoint leaves out what it names as unused, alone', () => {
    const [network, config] = [qwen25vl as unknown as Network<unknown>, qwen25vl.published['qwen2.5-vl-7b']];
    const all = new Set(layoutOf(network, config).map(({ name }) => name));
    const used = new Set(recordLayout((scope) => network.read(scope, config), 'used').map(({ name }) => name));
    expect([...all].filter((name) => !used.has(name))).toEqual(['lm_head.weight']);
  });
});
