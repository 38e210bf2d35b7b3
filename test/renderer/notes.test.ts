import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEVICE_FAULTS, DEVICES } from '../../main/contract/devices.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { NOTE_CODES, NOTE_FIELDS, type NoteCode } from '../../main/contract/notes.ts';
import type { LogLine } from '../../main/contract/queue.ts';
import { en } from '../../renderer/src/i18n/en/index.ts';
import { makeFormat } from '../../renderer/src/i18n/format.ts';
import { Told } from '../../renderer/src/i18n/told.ts';
import { zh } from '../../renderer/src/i18n/zh/index.ts';
import { sentenceOf } from '../../renderer/src/ui/failure.ts';
import { wordsOf } from '../../renderer/src/views/queue/log-line.ts';

const LANGUAGES = [
  ['en', en, makeFormat('en')],
  ['zh-CN', zh, makeFormat('zh-CN')],
] as const;
type Language = (typeof LANGUAGES)[number];

/** A value for each field that a note has, as it is made and as it is shown. */
const VALUES = {
  file: ['/in/a.png', '/in/a.png'],
  frames: [12, '12'],
  pages: [7, '7'],
  width: [640, '640'],
  height: [90, '90'],
  device: ['cuda', 'CUDA'],
  model: ['dinov3', 'dinov3'],
  bytes: [6.7e9, '6.7'],
  vram: [2 ** 30, '1 GiB'],
  fault: ['refused', /the runtime does not take it|运行时无法使用它/],
  why: ['no driver', 'no driver'],
  asked: ['fox', 'fox'],
  name: ['fox-v2', 'fox-v2'],
  setting: ['DIT', 'DIT'],
  files: [['train.sh', 'train.ps1'], 'train.sh, train.ps1'],
  of: ['dit.safetensors', 'dit.safetensors'],
  folder: ['images', 'images'],
  images: [31, '31'],
  steps: [20, '20'],
  trainer: ['musubi-tuner', 'musubi-tuner'],
  left: [3, '3'],
  modules: [60, '60'],
  hub: ['ModelScope', 'ModelScope'],
  section: ['a111', 'a111'],
  settings: [['memory', 'threads'], 'memory, threads'],
  aside: ['/in/settings.json.damaged-1', '/in/settings.json.damaged-1'],
  source: ['https://hub.example', 'https://hub.example'],
} as const;
type Field = keyof typeof VALUES;

const ERROR = new I2lError('IMAGE_INVALID', '/in/b.png: the app said.', { file: '/in/b.png', reason: 'image-empty' }).toShape();

const fieldsOf = (code: NoteCode): readonly Field[] => NOTE_FIELDS[code];

function lineOf(code: NoteCode, names: readonly Field[] = fieldsOf(code), error = ERROR): LogLine {
  const fields = Object.fromEntries(names.map((name) => [name, VALUES[name][0]]));
  return { at: 0, text: 'What the app said.', note: { code, fields, error } };
}

const said = (line: LogLine, [, dictionary, format]: Language): string => wordsOf(line, dictionary, format);

/** The fields that a sentence asks for, and whether it tells of a failure. */
function askedBy(code: NoteCode, [, { notes }, format]: Language): { asked: string[]; failure: boolean } {
  const asked = new Set<string>();
  const fields = new Proxy(lineOf(code).note!.fields, {
    get: (values, name) => {
      asked.add(String(name));
      return Reflect.get(values, name) as unknown;
    },
  });
  const told = new Told({ message: '', fields }, format);
  notes[code](told);
  return { asked: [...asked].sort(), failure: !told.isWhole };
}

describe.each(LANGUAGES)('in %s', (...language) => {
  const [name] = language;

  test.each(NOTE_CODES)('%s is said with all its fields', (code) => {
    const sentence = said(lineOf(code), language);
    expect(sentence).not.toMatch(/What the app said|undefined|NaN|\[object|[.。:：]{2}/);
    expect(sentence).toMatch(name === 'zh-CN' ? /\p{Script=Han}.*。$|\.png$/u : /[.]$|[.]png$/);
    for (const field of fieldsOf(code)) expect(sentence).toMatch(VALUES[field][1] as RegExp);
  });

  test.each(NOTE_CODES.filter((code) => fieldsOf(code).length > 0))(
    '%s without one of its fields is told as the app says it',
    (code) => {
      for (const missing of fieldsOf(code)) {
        const rest = fieldsOf(code).filter((field) => field !== missing);
        expect(said(lineOf(code, rest), language)).toBe('What the app said.');
      }
    },
  );

  test.each(DEVICES)('%s is called as in the settings', (device) => {
    const line: LogLine = { at: 0, text: '', note: { code: 'DEVICE_NOT_OFFERED', fields: { device } } };
    expect(said(line, language)).toContain(language[1].settings.devices[device]);
  });

  test.each(DEVICE_FAULTS)('%s has words', (fault) => {
    const line: LogLine = {
      at: 0,
      text: '',
      note: { code: 'DEVICE_TEST_FAILED', fields: { device: 'dml', fault, why: 'no driver' } },
    };
    expect(said(line, language)).toMatch(/CPU/);
  });

  test('a failure is told in the same language', () => {
    const sentence = said(lineOf('IMAGE_REFUSED'), language);
    expect(sentence).toContain(name === 'zh-CN' ? '/in/b.png：文件是空的。' : '/in/b.png: the file is empty.');
  });

  test('a file is named once, whether the failure names it or not', () => {
    const named = new I2lError('IMAGE_INVALID', '', { file: '/in/a.png', reason: 'image-empty' }).toShape();
    const nameless = new I2lError('CANCELLED', '').toShape();
    for (const error of [named, nameless]) {
      expect(said(lineOf('IMAGE_REFUSED', ['file'], error), language).split('/in/a.png')).toHaveLength(2);
    }
  });

  test('a failure that is not there leaves the words of the app', () => {
    const { note, ...line } = lineOf('IMAGE_REFUSED');
    expect(said({ ...line, note: { code: note!.code, fields: note!.fields } }, language)).toBe('What the app said.');
  });

  test('what follows from a failure is told behind it', () => {
    const failed = new I2lError('CANCELLED', '').toShape();
    const after = { DEVICE_WITH_LESS: '1 GiB', DEVICE_GIVEN_UP: 'CPU', SOURCE_ASKED_AGAIN: 'hub', SOURCE_TRIED_NEXT: 'hub' };
    const [, dictionary, format] = language;
    for (const [code, word] of Object.entries(after)) {
      const sentence = said(lineOf(code as NoteCode, fieldsOf(code as NoteCode), failed), language);
      expect(sentence.split(sentenceOf(failed, dictionary.errors, format))[1]).toContain(word);
    }
  });

  test('a number that is none leaves the words of the app', () => {
    for (const bytes of ['many', ['1', '2'], Number.NaN]) {
      const note = { code: 'WEIGHTS_KEPT' as const, fields: { bytes } };
      expect(said({ at: 0, text: 'What the app said.', note }, language)).toBe('What the app said.');
    }
  });

  test('a line of an older version, and a note of a later one, are told as the app says it', () => {
    expect(said({ at: 0, text: 'What the app said.' }, language)).toBe('What the app said.');
    const later = { ...lineOf('FAILED'), note: { code: 'FROM_A_LATER_VERSION' as NoteCode, fields: {} } };
    expect(said(later, language)).toBe('What the app said.');
  });
});

test.each(NOTE_CODES)('%s asks for its own fields, and for the same in both languages', (code) => {
  const [english, chinese] = LANGUAGES.map((language) => askedBy(code, language));
  expect(english?.asked).toEqual([...fieldsOf(code)].sort());
  expect(chinese).toEqual(english);
});

test('every note is given somewhere', () => {
  const sources = readdirSync('main', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join('main', file), 'utf8'))
    .join('\n');
  expect(NOTE_CODES.filter((code) => !sources.includes(`note('${code}'`))).toEqual([]);
});

test('notes are shown in no other way', () => {
  const pages = readdirSync('renderer/src', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.svelte'))
    .map((file) => readFileSync(join('renderer/src', file), 'utf8'))
    .join('\n');
  expect(pages.match(/\{(line[.](text|note)|note([.]message)?)\}|@html.*/g)).toBeNull();
});
