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

/** What is said by every key, where a value is asked for, with this one; sentences of failures and notes have tests of their own. */
function sayings(of: object, value: number | string = '3', way = ''): Map<string, string> {
  return new Map(
    Object.entries(of).flatMap(([key, held]: [string, unknown]): [string, string][] => {
      const here = `${way}.${key}`;
      if (here === '.notes' || here === '.errors.sentences') return [];
      if (typeof held === 'object' && held !== null) return [...sayings(held, value, here)];
      const said: unknown =
        typeof held === 'function' ? (held as (...values: unknown[]) => unknown)(value, value, value, value) : held;
      return [[here, String(said)]];
    }),
  );
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

  test('have no English where Chinese is shown, but for names', () => {
    const names = /^(Qwen-Image|Z-Image|DiffSynth-Studio|musubi-tuner|ai-toolkit|OneTrainer|ComfyUI|Pinokio|Stability Matrix|Hugging Face|ModelScope|English|CPU|NVIDIA GPU（CUDA）|GPU（WebGPU）|GPU（DirectML）|Apple（Core ML）|AutoV2 [/] AutoV3|[/]home[/]\S+)$/; // prettier-ignore
    const english = [...sayings(zh)].filter(([, said]) => /[a-z]{2}/i.test(said) && !/\p{Script=Han}/u.test(said));
    expect(english.filter(([, said]) => !names.test(said))).toEqual([]);
    expect([...sayings(en)].filter(([way, said]) => /\p{Script=Han}/u.test(said) && !way.includes('.languages.'))).toEqual([]);
  });

  test('say one of a thing in the singular', () => {
    const things = /(^|[^\d.])1 ([a-z]+ )?(cores|files|folders|images|image sets|jobs|licences|LoRAs|models|sets)\b/;
    const [told, written] = [sayings(en, 1), sayings(en, '1')];
    expect([...told].filter(([way, said]) => things.test(said) && things.test(written.get(way) ?? ''))).toEqual([]);
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
