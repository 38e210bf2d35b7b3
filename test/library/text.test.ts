import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fold, indexText, matchExpression, sortKey } from '../../main/library/text.ts';

function index(texts: readonly string[]): (typed: string) => string[] {
  const database = new Sqlite(':memory:');
  database.exec(`CREATE VIRTUAL TABLE search USING fts5 (a, b, content = '', contentless_delete = 1, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2")`); // prettier-ignore
  const insert = database.prepare('INSERT INTO search (rowid, a, b) VALUES (?, ?, ?)');
  texts.forEach((text, i) => insert.run(i + 1, indexText(text), ''));
  const find = database.prepare('SELECT rowid AS id FROM search WHERE search MATCH ? ORDER BY rowid');
  return (typed) => {
    const match = matchExpression(typed);
    return match === undefined ? [] : (find.all(match) as { id: number }[]).map(({ id }) => texts[id - 1]!);
  };
}

describe('search', () => {
  const find = index(['A red fox in snow', 'Crème brûlée', '水墨风格 portrait', 'ภาพวาดจีน', 'wei\u00DF Stra\u00DFe', 'ＦＵＬＬ width', 'don\'t "quote" me', 'x_y-z.1']); // prettier-ignore
  test.each([
    ['red fox', ['A red fox in snow']],
    ['fox red', ['A red fox in snow']],
    ['RED sn', ['A red fox in snow']],
    ['ed', []],
    ['creme brul', ['Crème brûlée']],
    ['cre\u0301me', ['Crème brûlée']],
    ['风格', ['水墨风格 portrait']],
    ['水墨', ['水墨风格 portrait']],
    ['水风', []],
    ['墨风 port', ['水墨风格 portrait']],
    ['วาด', ['ภาพวาดจีน']],
    ['full', ['ＦＵＬＬ width']],
    ['quote', ['don\'t "quote" me']],
    ['"quote', ['don\'t "quote" me']],
    ["don't", ['don\'t "quote" me']],
    ['x_y', ['x_y-z.1']],
    ['***', []],
    ['', []],
  ])('%s', (typed, found) => expect(find(typed)).toEqual(found));

  const hostile = ['" OR 1', 'a AND', 'NEAR(a b)', 'name:x', '^a', '-a', 'a*b*', '(((', "'; DROP TABLE x;--", '\0', 'a\0b', '\uD800', '{a b}:c', 'col : "x', '+', '""', '\u0301', '़']; // prettier-ignore
  test('no input is a syntax error', () => {
    for (const typed of hostile) expect(() => find(typed), JSON.stringify(typed)).not.toThrow();
    const texts = fc.oneof(fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units)), fc.string(), fc.array(fc.constantFrom(...hostile)).map((parts) => parts.join(' '))); // prettier-ignore
    fc.assert(
      fc.property(texts, (typed) => {
        find(typed);
      }),
      { numRuns: 1000 },
    );
  });

  test('whatever was written is found by any beginning of its words', () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom(...'abcäé狐水ภ1-"* ＡßЖ') , minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 4 }); // prettier-ignore
    fc.assert(
      fc.property(words, fc.nat(), (parts, cut) => {
        const text = parts.join(' ');
        const word = parts[cut % parts.length]!;
        const typed = word.slice(0, 1 + (cut % word.length));
        if (matchExpression(typed) === undefined) return;
        expect(index([text, 'other'])(typed)).toContain(text);
      }),
      { numRuns: 300 },
    );
  });
});

test('names are sorted as people count, without case or accents', () => {
  const names = ['a10', 'A9', 'á1', 'b', 'a010', 'a', 'Z', '2', '10', 'a99999999999999999999', 'a100000000000000000000'];
  const sorted = names.toSorted((x, y) => (sortKey(x) < sortKey(y) ? -1 : sortKey(x) > sortKey(y) ? 1 : 0));
  expect(sorted).toEqual(['2', '10', 'a', 'á1', 'A9', 'a10', 'a010', 'a99999999999999999999', 'a100000000000000000000', 'b', 'Z']);
  expect([fold(' Ébène '), fold('e\u0301')]).toEqual(['ebene', 'e']);
});
