import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loraQuerySchema } from '../../main/contract/loras.ts';
import { countFilters, NO_FILTERS, queryOf, type Filters } from '../../renderer/src/state/lora-filters.ts';
import { missingPages, PAGE, rowAt, withPage, type Pages } from '../../renderer/src/state/pages.ts';
import { downloadOf } from '../../renderer/src/views/library/drag-out.ts';
import { worstFirst } from '../../renderer/src/views/library/comparison.ts';
import { barsPath, rowOf, shareAt, sharesOf } from '../../renderer/src/views/library/rank-view.ts';
import { moved, moveOf, type Move } from '../../renderer/src/ui/selection.ts';

describe('pages of a long list', () => {
  const page = (at: number, turn: number): { rows: number[]; turn: number } => ({
    rows: Array.from({ length: PAGE }, (_, i) => at * PAGE + i),
    turn,
  });

  test('are asked for where a row in sight is not known, or is of an older turn', () => {
    const pages: Pages<number> = new Map([[0, page(0, 2)], [1, page(1, 1)]]); // prettier-ignore
    expect(missingPages(pages, 2, 0, 50)).toEqual([]);
    expect(missingPages(pages, 2, 50, 350)).toEqual([1, 2, 3]);
    expect(missingPages(pages, 2, -5, -1)).toEqual([]);
  });

  test('give rows by their place, and the far ones go', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { minLength: 1, maxLength: 80 }), (reads) => {
        const pages = reads.reduce<Pages<number>>((known, at) => withPage(known, at, page(at, 1)), new Map());
        const last = reads.at(-1) ?? 0;
        expect(rowAt(pages, last * PAGE + 7)).toBe(last * PAGE + 7);
        expect(pages.size).toBeLessThanOrEqual(24);
        for (const [at, { rows }] of pages) expect(rows[0]).toBe(at * PAGE);
      }),
    );
    expect(rowAt(new Map(), 3)).toBeUndefined();
  });
});

describe('filters', () => {
  test('of any kind are a question that the contract understands', () => {
    const filters: Filters = {
      ...{ text: '狐 fox', target: 'qwen-image', expert: 'style', tags: ['snow'], allTags: true, rankFrom: 4, rankTo: 16 },
      ...{ favourite: true, ratingFrom: 3, missing: true, demo: 'only', trashed: true },
    };
    for (const one of [filters, NO_FILTERS, { ...filters, allTags: false }]) {
      expect(loraQuerySchema.safeParse(queryOf(one, 'relevance', 'ascending')).success).toBe(true);
    }
    expect(queryOf(filters, 'name', 'ascending')).toMatchObject({ tagsAll: ['snow'], rankTo: 16, ratingFrom: 3 });
    expect(countFilters(filters)).toBe(11);
    expect(queryOf(filters, 'name', 'ascending').synthetic).toBe(true);
    expect(queryOf({ ...filters, demo: 'without' }, 'name', 'ascending').synthetic).toBe(false);
  });

  test('of ranks take whatever is typed: a broken number, a negative one, one that is far too large', () => {
    for (const [rankFrom, rankTo, asked] of [
      [1.5, 8.9, [2, 8]],
      [-5, 1e30, [0, 1e6]],
      [0.2, -1, [1, 0]],
    ] as const) {
      // prettier-ignore
      const query = queryOf({ ...NO_FILTERS, rankFrom, rankTo }, 'added', 'descending');
      expect([query.rankFrom, query.rankTo]).toEqual(asked);
      expect(loraQuerySchema.safeParse(query).success).toBe(true);
    }
  });

  test('that are off leave nothing out', () => {
    expect(queryOf(NO_FILTERS, 'added', 'descending')).toEqual({ text: '', tagsAny: [], trashed: false, sort: 'added', order: 'descending' }); // prettier-ignore
    expect(countFilters(NO_FILTERS)).toBe(0);
  });
});

describe('moving in a grid', () => {
  const grid = { total: 10, columns: 4, lines: 2 };

  test('by line, into the shorter last one, and never out', () => {
    expect(moved(1, 'down', grid)).toBe(5);
    expect(moved(7, 'down', grid)).toBe(9);
    expect(moved(9, 'down', grid)).toBe(9);
    expect(moved(2, 'up', grid)).toBe(2);
    expect(moved(6, 'up', grid)).toBe(2);
    expect(moved(0, 'end', grid)).toBe(9);
    expect(moved(9, 'home', grid)).toBe(0);
  });

  test('always leads to a row that there is', () => {
    const moves: Move[] = ['left', 'right', 'up', 'down', 'home', 'end', 'page-up', 'page-down'];
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(30),
        fc.nat(499),
        fc.constantFrom(...moves),
        (total, columns, lines, from, move) => {
          const to = moved(from % total, move, { total, columns, lines });
          expect(to).toBeGreaterThanOrEqual(0);
          expect(to).toBeLessThan(total);
        },
      ),
    );
    expect(moveOf('a')).toBeUndefined();
  });
});

describe('the rank slider', () => {
  test('reads the shares as they were sent', () => {
    const bytes = Buffer.alloc(8);
    [0, 65_535, 32_768, 1].forEach((value, i) => bytes.writeUInt16LE(value, 2 * i));
    const shares = sharesOf({ shares: bytes.toString('base64') });
    expect([shareAt(shares, 2, 0, 0), shareAt(shares, 2, 0, 1), shareAt(shares, 2, 1, 1)]).toEqual([0, 1, 1 / 65_535]);
    expect(shareAt(shares, 2, 1, 0)).toBeCloseTo(0.5, 4);
  });

  test('finds the row of a rank', () => {
    const rows = [1, 2, 4, 8].map((rank) => ({ rank, kept: 1, worst: { module: 0, kept: 1 }, bytes: rank }));
    expect([1, 3, 4, 8, 99].map((rank) => rowOf(rows, rank))).toEqual([0, 1, 2, 3, 3]);
  });

  test('draws a bar for every component, also for one that is nothing', () => {
    const path = barsPath([1, 0.01, 0], { width: 30, height: 100 });
    expect(path.match(/z/g)).toHaveLength(3);
    expect(path).toContain('M10.00 100V50.00');
    expect(path).not.toContain('NaN');
  });
});

test('a comparison begins with what one alone has, then the furthest apart', () => {
  const sorted = worstFirst([
    { module: 'near', relativeError: 0.1, cosine: 0.99 },
    { module: 'only', only: 'b' },
    { module: 'nothing' },
    { module: 'far', relativeError: 1.4, cosine: 0 },
  ]);
  expect(sorted.map(({ module }) => module)).toEqual(['only', 'far', 'near', 'nothing']);
});

describe('a LoRA that is dragged out of a browser', () => {
  test.each([
    ['/home/me/loras/Old town.safetensors', 'Old town.safetensors'],
    ['C:\\loras\\a.safetensors', 'a.safetensors'],
    ['/loras/10:20.safetensors', '10-20.safetensors'],
  ])('%s is downloaded as %s, by its number', (file, name) => {
    const page = 'http://127.0.0.1:8188/?x#/library/7';
    expect(downloadOf({ id: 7, file }, page)).toBe(`application/octet-stream:${name}:http://127.0.0.1:8188/media/loras/7`);
  });
});
