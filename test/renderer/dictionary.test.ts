import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES } from '../../main/contract/errors.ts';
import { en } from '../../renderer/src/i18n/en/index.ts';
import { zh } from '../../renderer/src/i18n/zh/index.ts';

/** Keys by their way from the root, with what they hold: a word, or a sentence of how many values. */
function leaves(of: object, way: readonly string[] = []): Map<string, string> {
  return new Map(
    Object.entries(of).flatMap(([key, value]: [string, unknown]) => {
      const here = [...way, key];
      if (typeof value === 'object' && value !== null) return [...leaves(value, here)];
      return [[here.join('.'), typeof value === 'function' ? sentence(here, value as () => string) : 'word'] as [string, string]];
    }),
  );
}

/** Of a failure and a note each language takes what it has words for. */
function sentence(way: readonly string[], { length }: { readonly length: number }): string {
  return way.includes('sentences') || way[0] === 'notes' ? 'told' : `of ${length}`;
}

const sources = readdirSync('renderer/src', { recursive: true, encoding: 'utf8' })
  .filter((file) => /[.](svelte|ts)$/.test(file) && !/i18n.(en|zh)/.test(file))
  .map((file) => readFileSync(join('renderer/src', file), 'utf8'))
  .join('\n');

/** Groups whose keys are looked up by a value: `words.states[job.state]`. */
function isLookedUp(way: readonly string[]): boolean {
  return way.slice(0, -1).some((key) => new RegExp(`\\b${key}\\[`).test(sources));
}

describe('the dictionaries', () => {
  test('have the same keys in both languages', () => {
    expect([...leaves(zh)].sort()).toEqual([...leaves(en)].sort());
  });

  test('hold no empty word', () => {
    for (const dictionary of [en, zh]) expect(JSON.stringify(dictionary)).not.toContain('""');
  });

  test('hold no key that nothing shows', () => {
    const unused = [...leaves(en).keys()].filter((way) => {
      const keys = way.split('.');
      const last = keys.at(-1)!;
      const named =
        new RegExp(`[.]${last}\\b`).test(sources) || new RegExp(`\\{[^{}\\n]*\\b${last}\\b[^{}\\n]*\\} = `).test(sources);
      return !named && !isLookedUp(keys) && keys[0] !== 'errors';
    });
    expect(unused).toEqual([]);
  });

  test('have a title for every error code', () => {
    const titled = Object.keys(en.errors.codes).sort();
    expect([...ERROR_CODES].filter((code) => !titled.includes(code))).toEqual([]);
  });
});
