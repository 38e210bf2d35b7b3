import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planRescan, type FolderFile, type KnownItem } from '../../main/library/rescan-plan.ts';

const files = fc.uniqueArray(
  fc.record({ file: fc.constantFrom(...'abcdefgh'), hash: fc.option(fc.constantFrom(...'123456789'), { nil: undefined }) }),
  { selector: ({ file }) => file },
);
const items = fc
  .uniqueArray(fc.record({ hash: fc.constantFrom(...'123456789'), source: fc.constantFrom(...'abcdefgh') }), {
    selector: ({ hash }) => hash,
  }) // prettier-ignore
  .map((list) => list.filter(({ source }, i) => list.findIndex((other) => other.source === source) === i));

/** What the set is after the plan: each image's file. */
function after(known: readonly KnownItem[], plan: ReturnType<typeof planRescan>): Map<string, string> {
  const set = new Map(known.map(({ hash, source }) => [hash, source]));
  for (const { hash, to } of plan.moved) set.set(hash, to);
  for (const { from } of plan.changed) set.delete(from);
  for (const { to, file } of plan.changed) set.set(to, file);
  for (const hash of plan.removed) set.delete(hash);
  for (const { hash, file } of plan.added) set.set(hash, file);
  return set;
}

test('after a plan the set holds just what the folder holds, each image at a file that has it', () => {
  fc.assert(
    fc.property(items, fc.uniqueArray(fc.constantFrom(...'123456789')), files, (known, others, folder) => {
      const elsewhere = new Set(others.filter((hash) => !known.some((item) => item.hash === hash)));
      const plan = planRescan(known, elsewhere, folder);
      const set = after(known, plan);
      const at = new Map(folder.map(({ file, hash }) => [file, hash]));
      const unreadable = known.filter(({ source }) => at.has(source) && at.get(source) === undefined).map(({ hash }) => hash);
      const readable = folder.flatMap(({ hash }) => (hash === undefined || elsewhere.has(hash) ? [] : [hash]));
      expect(new Set(set.keys())).toEqual(new Set([...readable, ...unreadable]));
      for (const [hash, file] of set) expect([hash, undefined]).toContain(at.get(file));
      // Each image is told in one way, and every file that adds nothing is a duplicate.
      const told = [...plan.removed, ...plan.changed.map(({ from }) => from), ...plan.moved.map(({ hash }) => hash)];
      expect(new Set(told).size).toBe(told.length);
      const used = new Set(set.values());
      const rest = folder.filter(({ file, hash }) => hash !== undefined && !used.has(file)).map(({ file }) => file);
      expect(new Set(plan.duplicates.map(({ file }) => file))).toEqual(new Set(rest));
      // A second reading of the same folder has nothing to do.
      const items2 = [...set].map(([hash, source]) => ({ hash, source }));
      const again = planRescan(items2, elsewhere, folder);
      expect([again.added, again.removed, again.changed, again.moved]).toEqual([[], [], [], []]);
    }),
    { numRuns: 700 },
  );
});

test('a folder that did not change asks for nothing', () => {
  const known: KnownItem[] = [{ hash: '1', source: 'a' }, { hash: '2', source: 'b' }]; // prettier-ignore
  const now: FolderFile[] = [{ file: 'a', hash: '1' }, { file: 'b', hash: '2' }]; // prettier-ignore
  expect(planRescan(known, new Set(), now)).toEqual({ added: [], removed: [], changed: [], moved: [], duplicates: [] });
});
