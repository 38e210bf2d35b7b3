import { expect, test } from 'vitest';
import { MOST_TITLE } from '../../main/contract/queue.ts';
import { cutTitle } from '../../main/jobs/title.ts';

test('a title that fits stays', () => {
  for (const title of ['', 'Sea', 'x'.repeat(MOST_TITLE)]) expect(cutTitle(title)).toBe(title);
});

test.each([
  ['letters', 'x'.repeat(2 * MOST_TITLE), `${'x'.repeat(MOST_TITLE - 1)}…`],
  ['words', 'ab '.repeat(MOST_TITLE), `${'ab '.repeat(166)}a…`],
  ['a space at the end', `${'x'.repeat(MOST_TITLE - 2)}  yz`, `${'x'.repeat(MOST_TITLE - 2)}…`],
  ['characters of two units', '😀'.repeat(MOST_TITLE), `${'😀'.repeat(249)}…`],
  ['characters of many signs', '👩‍👩‍👧'.repeat(MOST_TITLE), `${'👩‍👩‍👧'.repeat(62)}…`],
])('a longer one of %s is cut behind a whole character', (_what, title, cut) => {
  expect(cutTitle(title)).toBe(cut);
  expect(cut.length).toBeLessThanOrEqual(MOST_TITLE);
});
