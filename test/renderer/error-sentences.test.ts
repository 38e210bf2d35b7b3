import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES, ERROR_REASONS, fileError, I2lError } from '../../main/contract/errors.ts';
import { windowPath } from '../../main/handlers/paths.ts';
import { en } from '../../renderer/src/i18n/en/index.ts';
import { makeFormat } from '../../renderer/src/i18n/format.ts';
import { zh } from '../../renderer/src/i18n/zh/index.ts';
import { sentenceOf, titleOf, type Failure } from '../../renderer/src/ui/failure.ts';
import { thrownBy } from '../unit/errors.ts';

const LANGUAGES = [
  ['en', en.errors, makeFormat('en')],
  ['zh-CN', zh.errors, makeFormat('zh-CN')],
] as const;

/** All that any sentence asks for. */
const FIELDS = {
  ...{ file: '/a/b.png', system: 'EACCES', needed: 5e9, free: 2e9, tensor: 'block.0', expected: '4 x 4', got: '2 x 2' },
  ...{ why: 'it is cut off', models: ['dinov3-7b'], bytes: 13.4e9, model: 'dinov3-7b', licence: 'dinov3', title: 'DINOv3' },
  ...{ url: 'https://hub.example/x', repo: 'a/b', source: 'https://hub.example', path: 'model.safetensors', status: 500 },
  ...{ retryAfterMs: 30_000, keys: ['k'], module: 'attn.to_q', width: 8, height: 9, refused: ['/a/b.png: bad'], name: 'i2L' },
  ...{ network: 'DINOv3', stage: 'block 3', smallest: 2 ** 30, budget: 2 ** 28, option: '--memory', device: 'cuda' },
  ...{ signal: 'SIGKILL', kind: 'create', crashes: 3, stoppedAt: '/a/b', example: 'https://huggingface.co', template: '{x}' },
  ...{ field: 'x', subfolder: '..', most: 2 ** 30 },
};

function saidOf(code: string, fields: Failure['fields'], [, words, format]: (typeof LANGUAGES)[number]): string {
  return sentenceOf({ code, message: 'What the app said.', fields }, words, format);
}

const CASES = [
  ...ERROR_CODES.map((code) => ({ code, fields: {} })),
  ...ERROR_REASONS.map((reason) => ({ code: 'BAD_ARGUMENT' as const, fields: { reason } })),
];

describe.each(LANGUAGES)('in %s', (...language) => {
  const [name] = language;

  test.each(CASES)('$code $fields.reason has a sentence', ({ code, fields }) => {
    const sentence = saidOf(code, { ...FIELDS, ...fields }, language);
    expect(sentence).toMatch(/^\S.*\S$/);
    expect(sentence).not.toMatch(/undefined|NaN|\[object/);
    // Chinese is said in Chinese alone: nothing of the app's own words is left.
    if (name === 'zh-CN') expect(sentence.replace('What the app said', 'English')).toMatch(/^(?!.*English).*\p{Script=Han}.*。$/u);
  });

  test.each(CASES)('$code $fields.reason has no hole where nothing else is known', ({ code, fields }) => {
    const sentence = saidOf(code, fields, language);
    expect(sentence).not.toMatch(/undefined|NaN|[(（][)）]|[“][”]| {2}|^ /);
    expect(sentence).toMatch(name === 'zh-CN' ? /\p{Script=Han}|^What the app said[.]$/u : /^\p{Lu}|^i2L/u);
  });

  test('what is missing and how large it is are named', () => {
    const missing = saidOf('MODEL_MISSING', { models: ['dinov3-7b', 'siglip2-g384'], bytes: 15.7e9 }, language);
    expect(missing).toMatch(/dinov3-7b, siglip2-g384.*15[.]7.?GB/);
    expect(saidOf('MEMORY_BUDGET', FIELDS, language)).toMatch(/DINOv3(?=.*block 3)(?=.*1 GiB).*256 MiB/);
    const image = { file: '/in/a.png', width: 12000, height: 9000, smallest: 2 ** 30, budget: 2 ** 28, option: '--memory' };
    expect(saidOf('MEMORY_BUDGET', image, language)).toMatch(/\/in\/a[.]png(?=.*12000 x 9000)(?=.*1 GiB).*256 MiB/);
  });

  test('a code that the page does not know is told as the app says it', () => {
    expect(saidOf('FROM_A_LATER_VERSION', {}, language)).toBe('What the app said.');
    expect(titleOf('FROM_A_LATER_VERSION', language[1])).toBe(language[1].unknown);
  });

  test('a reason that the page does not know leaves the sentence of its code', () => {
    expect(saidOf('NO_IMAGES', { folder: '/a', reason: 'later' }, language)).toBe(saidOf('NO_IMAGES', { folder: '/a' }, language));
  });

  test('of several failures it is said how many, and what happened to the first', () => {
    const sentence = saidOf('DISK_FULL', { file: '/a', failed: 3, all: 5 }, language);
    expect(sentence).toMatch(/3.*5|5.*3/);
    expect(sentence.endsWith(saidOf('DISK_FULL', { file: '/a' }, language))).toBe(true);
  });
});

describe('what the app throws', () => {
  const chinese = (error: I2lError): string => sentenceOf(error, zh.errors, makeFormat('zh-CN'));

  test('names the file', () => {
    const full = fileError('/out/a.safetensors', 'write', Object.assign(new Error(), { code: 'ENOSPC' }));
    expect(chinese(full)).toBe('/out/a.safetensors：磁盘已满。请释放空间，或选择其他文件夹。');
    const denied = fileError('/in/a.png', 'read', Object.assign(new Error(), { code: 'EACCES' }));
    expect(chinese(denied)).toBe('/in/a.png：无法读取（没有权限）。');
  });

  test('tells one image that is gone from the set that it was in', () => {
    const gone = (fields: Failure['fields']): string => chinese(new I2lError('NOT_IN_LIBRARY', 'It is not there.', fields));
    expect(gone({ set: 1, hash: 'a' })).toBe('图片集中已没有此图片。');
    expect(gone({ hash: 'a' })).toBe('库中已没有此图片。');
    expect(gone({ set: 1 })).toBe('库中已没有此图片集。');
    expect(gone({ lora: 1 })).toBe('库中已没有此项。');
    const english = { code: 'NOT_IN_LIBRARY', message: 'It is not there.', fields: { set: 1, hash: 'a' } };
    expect(sentenceOf(english, en.errors, makeFormat('en'))).toBe('This image is not in the image set any more.');
  });

  test('says which of several things it was', () => {
    const relative = thrownBy(() => windowPath('images'));
    expect(chinese(relative)).toBe('images：请填写从根目录或盘符开始的完整路径。');
    expect(chinese(I2lError.fromShape({ ...relative.toShape(), fields: { file: 'images' } }))).not.toBe(chinese(relative));
  });
});

function sourcesOf(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /[.](ts|svelte)$/.test(file) && file !== join('contract', 'errors.ts'))
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .join('\n');
}

test('every reason is given somewhere', () => {
  const sources = sourcesOf('main');
  expect(ERROR_REASONS.filter((reason) => !sources.includes(`'${reason}'`))).toEqual([]);
});

test("no part of the page shows the app's own words in place of a sentence", () => {
  expect(sourcesOf('renderer/src').match(/\{[^{}]*error[?]?[.]message\}/g)).toBeNull();
});
