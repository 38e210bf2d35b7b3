import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { asciiJson } from '../../main/trainers/ascii-json.ts';
import { bashQuoted, powershellQuoted } from '../../main/trainers/quoting.ts';

const HARD = [
  '',
  "it's",
  '$HOME `id` "x" \\ !',
  'tab\tand\nline',
  'Bilder – schön',
  '画像',
  '-n',
  '~',
  '*',
  "''",
  'a;b&&c|d>e',
  '‘a’',
  '#x',
];
const anyText = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !text.includes('\0') && text.isWellFormed());

describe.skipIf(process.platform === 'win32')('bash', () => {
  test('gives every text back as it is', () => {
    const texts = [...HARD, ...fc.sample(anyText, 300)];
    const script = `printf '%s\\0' ${texts.map(bashQuoted).join(' ')}`;
    const given = execFileSync('bash', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1);
    expect(given).toEqual(texts);
  });
});

describe('PowerShell', () => {
  /** Its tokenizer's rule: a single quote, also a typographic one, ends the string unless another follows. */
  function read(quoted: string): string {
    const isQuote = (at: number): boolean => /^['\u2018\u2019\u201A\u201B]$/.test(quoted.charAt(at));
    expect(isQuote(0)).toBe(true);
    let text = '';
    for (let at = 1; ; at++) {
      if (!isQuote(at)) text += quoted.charAt(at);
      else if (isQuote(at + 1)) text += quoted.charAt(at++);
      else {
        expect(at).toBe(quoted.length - 1);
        return text;
      }
    }
  }

  test('gives every text back as it is', () => {
    for (const text of HARD) expect(read(powershellQuoted(text))).toBe(text);
    fc.assert(
      fc.property(anyText, (text) => {
        expect(read(powershellQuoted(text))).toBe(text);
      }),
    );
  });
});

test('JSON for Python on Windows is ASCII and says the same', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' })), (texts) => {
      const json = asciiJson(texts);
      expect(json).toMatch(/^[\n -~]*$/);
      expect(JSON.parse(json)).toEqual(texts);
    }),
  );
});
