import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'svelte/compiler';
import { expect, test } from 'vitest';

/** Attributes and properties whose text people read or hear. */
const READ = new Set(['alt', 'aria-description', 'aria-label', 'aria-valuetext', 'label', 'placeholder', 'text', 'title']);
/** Names of things are the same in every language. */
const NAMES = /^(· )?(i2L Studio|ComfyUI)$/;

interface Node {
  readonly type: string;
  readonly name?: string;
  readonly data?: string;
}

/** What of a part of a page is written in the page itself. */
function textsIn(part: unknown, attribute?: string): string[] {
  if (Array.isArray(part)) return part.flatMap((one) => textsIn(one, attribute));
  if (typeof part !== 'object' || part === null) return [];
  const { type, name, data, ...rest } = part as Node;
  if (type === 'StyleDirective') return [];
  if (type === 'Text') return attribute === undefined || READ.has(attribute) ? [data ?? ''] : [];
  const inside = type === 'Attribute' ? name : attribute;
  return Object.values(rest).flatMap((child) => textsIn(child, inside));
}

const pages = readdirSync('renderer/src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.svelte'));

test.each(pages)('%s has all its words from the dictionaries', (file) => {
  const { fragment } = parse(readFileSync(join('renderer/src', file), 'utf8'), { modern: true });
  const texts = textsIn(fragment).map((text) => text.trim());
  expect(texts.filter((text) => /\p{L}{2}/u.test(text) && !NAMES.test(text))).toEqual([]);
});
