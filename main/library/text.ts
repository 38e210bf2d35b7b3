/** Text as it is searched and sorted, whatever its language. */

/** Scripts that put no space between words: each of their characters is a word of its own here. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]\p{M}*/gu;
/** What FTS5's unicode61 takes for a word; all else separates. https://www.sqlite.org/fts5.html#unicode61_tokenizer */
const WORD = /[\p{L}\p{N}\p{M}\p{Co}]+/gu;

const MOST_WORDS = 32;

/** Text as the search index takes it. */
export function indexText(text: string): string {
  return text
    .toWellFormed()
    .normalize('NFKC')
    .replaceAll('\0', ' ')
    .replace(UNSPACED, (character) => ` ${character} `);
}

/**
 * The FTS5 expression for what a user typed: all words have to be there, the last may be a beginning. It
 * holds letters, digits and our own quotes alone, so no input is a syntax error.
 * @returns undefined if there is no word in it
 */
export function matchExpression(typed: string): string | undefined {
  const runs = typed.toWellFormed().normalize('NFKC').match(WORD)?.slice(0, MOST_WORDS) ?? [];
  // Characters that stood together have to be found together: a phrase.
  const phrases = runs.map((run) => `"${indexText(run).match(WORD)?.join(' ') ?? ''}"`);
  return phrases.length === 0 ? undefined : `${phrases.join(' ')}*`;
}

/** By which names are sorted: no case, no accents, numbers by their value. */
export function sortKey(name: string): string {
  return fold(name).replace(/\d+/g, (digits) => {
    const number = digits.replace(/^0+(?=\d)/, '');
    return String(number.length).padStart(3, '0') + number;
  });
}

/** By which tags and names are compared. */
export function fold(text: string): string {
  return text.toWellFormed().normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().trim();
}
