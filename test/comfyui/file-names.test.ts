import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fillTemplate, subfolderParts } from '../../main/comfyui/file-names.ts';
import { MOST_NAME_BYTES, safeName, versionName } from '../../main/weights/file-names.ts';
import { thrownBy } from '../unit/errors.ts';

describe('safeName', () => {
  test.each([
    ['Portrait of a fox', 'Portrait of a fox'],
    ['żółw 狐 🦊', 'żółw 狐 🦊'],
    ['../../etc/passwd', '-..-etc-passwd'],
    ['..\\..\\x', '-..-x'],
    ['C:\\x', 'C--x'],
    ['a<b>c:d"e|f?g*h', 'a-b-c-d-e-f-g-h'],
    ['tail. . .', 'tail'],
    ['  . hidden', 'hidden'],
    ['a\u0000b\tc\nd', 'ab c d'],
    ['e\u0301', '\u00E9'],
    ['gpj.\u202Eexe', 'gpj.exe'],
    ['zero\u200Bwidth', 'zerowidth'],
    ['CON', '_CON'],
    ['con.v1', '_con.v1'],
    ['nul ', '_nul'],
    ['COM1', '_COM1'],
    ['lpt\u00B9.x', '_lpt\u00B9.x'],
    ['CONIN$', '_CONIN$'],
    ['console', 'console'],
    ['com10', 'com10'],
    ['', 'LoRA'],
    ['...', 'LoRA'],
    ['\u200B', 'LoRA'],
    ['\uD800x', '-x'],
  ])('%j is %j', (text, expected) => {
    expect(safeName(text)).toBe(expected);
  });

  test('a long name is cut between characters', () => {
    const name = safeName('狐'.repeat(200));
    expect(name).toBe('狐'.repeat(MOST_NAME_BYTES / 3));
    expect(Buffer.byteLength(safeName(`${'a'.repeat(MOST_NAME_BYTES - 2)}🦊`))).toBe(MOST_NAME_BYTES - 2);
    expect(safeName(`${'a'.repeat(MOST_NAME_BYTES - 2)}. b`)).toBe('a'.repeat(MOST_NAME_BYTES - 2));
  });

  test('whatever the text, every platform takes the name, and it is its own name', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.stringMatching(/^[ .]*(con|NUL|Lpt[0-9])[ .:/\\]*[a-z]*$/),
      fc.string({ unit: fc.constantFrom('.', ' ', '/', '\\', ':', 'a', '\uD800', '\u0301', '\u202E') }),
    );
    fc.assert(
      fc.property(text, (raw) => {
        const name = safeName(raw);
        expect(name).not.toMatch(/[<>:"/\\|?*]|\p{Cc}|\p{Cf}|^[.\s]|[.\s]$|^$/u);
        expect(name).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d) *(\.|$)/i);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(MOST_NAME_BYTES);
        expect(name.isWellFormed()).toBe(true);
        expect(safeName(name)).toBe(name);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('fillTemplate', () => {
  const fields = { name: 'fox', target: 'qwen-image', rank: '', date: '2026-05-04', images: '3' };

  test.each([
    ['{name}', 'fox'],
    ['{name}_{target}_{images}img', 'fox_qwen-image_3img'],
    ['{name}_r{rank}', 'fox_r'],
    ['{name}_{rank}', 'fox'],
    ['{rank}-{name}', 'fox'],
    ['{name}-{rank}-{date}', 'fox-2026-05-04'],
    ['{rank}', 'LoRA'],
    ['plain', 'plain'],
    ['a/{name}', 'a-fox'],
    ['', 'LoRA'],
  ])('%s', (template, expected) => {
    expect(fillTemplate(template, fields)).toBe(expected);
  });

  test('values are not templates, and can not lead elsewhere', () => {
    expect(fillTemplate('{name}', { name: '../{target}' })).toBe('-{target}');
  });

  test.each(['{nme}', '{}', '{__proto__}', '{constructor}'])('%s is refused with the fields that there are', (template) => {
    const error = thrownBy(() => fillTemplate(template, fields));
    expect(error.code).toBe('BAD_ARGUMENT');
    expect(error.message).toMatch(/\{name\}, \{target\}, \{rank\}, \{date\}, \{images\}/);
  });
});

test('versions count on', () => {
  expect([1, 2, 3].map((version) => versionName('fox', version))).toEqual(['fox', 'fox-v2', 'fox-v3']);
  expect([1, 2].map((version) => versionName('fox-v7', version))).toEqual(['fox-v7', 'fox-v8']);
  expect(versionName('-v2', 2)).toBe('-v2-v2');
});

describe('subfolderParts', () => {
  test.each([
    ['i2L', ['i2L']],
    ['', []],
    ['a/b\\c', ['a', 'b', 'c']],
    ['./a//b/', ['a', 'b']],
    ['a /nul/b.', ['a', '_nul', 'b']],
    ['a/...b', ['a', 'b']],
  ])('%j', (text, expected) => {
    expect(subfolderParts(text)).toEqual(expected);
  });

  test.each(['..', 'a/../b', '/abs', '\\\\server\\share', 'C:\\x', 'c:x', 'a/.. /b', 'a/...'])('%j leads elsewhere', (text) => {
    expect(thrownBy(() => subfolderParts(text)).code).toBe('BAD_ARGUMENT');
  });
});
