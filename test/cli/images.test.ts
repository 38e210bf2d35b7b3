import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { tempFolder } from '../unit/temp.ts';
import { doneOf, failureOf, linesOf, runCli, type CliOptions } from './run-cli.ts';
import { makeTinyModels } from './tiny-models.ts';

/** Images as people have them: what is done to the odd ones is said, what can't be used is named. */
const folder = tempFolder();
const models = join(folder, 'models');
const good = join(folder, 'good.png');
const NOBODY = 65534;

beforeAll(async () => {
  chmodSync(folder, 0o755);
  makeTinyModels(models);
  await noise(64, 48, 3).png().toFile(good);
});

function noise(width: number, height: number, channels: 1 | 3 | 4): Sharp {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 7919 + (i >> 5) * 31) % 256);
  return sharp(data, { raw: { width, height, channels } });
}

/** The embeddings are enough: images are handled alike everywhere. */
const encode = (output: string, files: readonly string[], args: readonly string[] = ['--json'], options?: CliOptions) =>
  runCli(['encode', ...files, '--models', models, '--device', 'cpu', '-o', output, ...args], options);

const AWKWARD: Readonly<Record<string, { readonly make: () => Sharp; readonly says: readonly string[] }>> = {
  'turned.jpg': {
    make: () => noise(64, 48, 3).withMetadata({ orientation: 6 }).jpeg(),
    says: ['turned upright'],
  },
  'moving.gif': {
    make: () => {
      const frames = Uint8Array.from({ length: 32 * 96 * 3 }, (_, i) => Math.floor(i / (32 * 32 * 3)) * 100);
      return sharp(frames, { raw: { width: 32, height: 96, channels: 3, pageHeight: 32 } }).gif();
    },
    says: ['only the first of 3 frames'],
  },
  'cut-out.png': { make: () => noise(64, 48, 4).png(), says: ['transparency laid on white'] },
  'print.jpg': { make: () => noise(64, 48, 3).toColourspace('cmyk').jpeg(), says: ['CMYK colours converted'] },
  'wide-gamut.png': { make: () => noise(64, 48, 3).withIccProfile('p3').png(), says: ['colour profile converted'] },
  'deep.png': { make: () => noise(64, 48, 3).toColourspace('rgb16').png(), says: ['reduced to 8 bits'] },
  'grey.jpg': { make: () => noise(64, 48, 1).toColourspace('b-w').jpeg(), says: ['greyscale'] },
  'wide.png': { make: () => noise(20_000, 32, 3).png(), says: ['20000 x 32: only its middle square'] },
  'small.png': { make: () => noise(16, 16, 3).png(), says: [] },
  'plain.webp': { make: () => noise(64, 48, 3).webp(), says: [] },
  'plain.tif': { make: () => noise(64, 48, 3).tiff(), says: [] },
  'plain.avif': { make: () => noise(64, 48, 3).avif({ effort: 0 }), says: [] },
};

test('each odd kind is used, with a note that names the file and says what was done', async () => {
  const files = Object.keys(AWKWARD).map((name) => join(folder, name));
  for (const [name, { make }] of Object.entries(AWKWARD)) await make().toFile(join(folder, name));
  const run = await encode(join(folder, 'awkward.safetensors'), files);
  expect(doneOf(run).images).toBe(files.length);
  const told = linesOf(run, 'note');
  const expected = Object.entries(AWKWARD).flatMap(([name, { says }]) => says.map((part) => [join(folder, name), part] as const));
  expect(told.map(({ fields }) => fields['file'])).toEqual(expected.map(([file]) => file));
  expected.forEach(([file, part], i) => {
    expect(told[i]?.message.startsWith(`${file}: `), told[i]?.message).toBe(true);
    expect(told[i]?.message).toContain(part);
    expect(told[i]?.code).toMatch(/^IMAGE_/);
  });
  // Whoever reads --json by eye or by grep finds it as in the other lines.
  expect(run.stdout.match(/^[{]"type":"note",/gm)).toHaveLength(told.length);
});

describe('a folder', () => {
  test('gives its images by number, leaves other files and hidden ones out, and has no say in named ones', async () => {
    const own = join(folder, 'own');
    mkdirSync(own);
    for (const [i, name] of ['img10.png', 'img9.PNG', 'img1.jpeg', 'b.webp'].entries()) {
      await noise(32, 32 + i, 3).toFile(join(own, name));
    }
    for (const name of ['notes.txt', '.hidden.png']) writeFileSync(join(own, name), 'no image');
    const output = join(folder, 'ordered.safetensors');
    doneOf(await encode(output, [good, own]));
    const hashes = [good, ...['b.webp', 'img1.jpeg', 'img9.PNG', 'img10.png'].map((name) => join(own, name))].map((file) =>
      createHash('sha256').update(readFileSync(file)).digest('hex'),
    );
    expect(JSON.parse(readSafetensors(output).metadata['i2l.images'] ?? '')).toEqual(hashes);
  });
});

describe('what is refused', () => {
  const bad = join(folder, 'bad');
  const BAD: Readonly<Record<string, { readonly write: (path: string) => unknown; readonly says: RegExp }>> = {
    'text.jpg': { write: (path) => writeFileSync(path, 'not an image'), says: /not an image/ },
    'empty.png': { write: (path) => writeFileSync(path, ''), says: /0 bytes/ },
    'cut.jpg': {
      write: async (path) => {
        const whole = await noise(64, 48, 3).jpeg().toBuffer();
        writeFileSync(path, whole.subarray(0, whole.length / 2));
      },
      says: /damaged or cut off/,
    },
    'dot.png': { write: (path) => noise(1, 1, 3).png().toFile(path), says: /1 x 1 pixels is too small/ },
    'drawing.png': {
      write: (path) => writeFileSync(path, '<svg xmlns="http://www.w3.org/2000/svg" width="50" height="50"><rect/></svg>'),
      says: /svg files are not supported/,
    },
    'folder.png': { write: (path) => mkdirSync(path), says: /it is a folder/ },
    'dangling.png': { write: (path) => symlinkSync('nowhere', path), says: /no such file/ },
  };
  const names = Object.keys(BAD).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));

  beforeAll(async () => {
    mkdirSync(bad);
    for (const [name, { write }] of Object.entries(BAD)) await write(join(bad, name));
  });

  test('of several: every one by name, one line each, and nothing is written', async () => {
    const output = join(folder, 'refused.safetensors');
    const { message, fields } = failureOf(await encode(output, [good, bad]), 'IMAGES_REFUSED');
    expect(message).toContain(`${names.length} of ${names.length + 1}`);
    const refused = fields['refused'] as string[];
    expect(refused).toHaveLength(names.length);
    names.forEach((name, i) => {
      expect(refused[i]?.startsWith(`${join(bad, name)}: `), refused[i]).toBe(true);
      expect(refused[i]).toMatch(BAD[name]?.says ?? /^$/);
      expect(refused[i]).not.toContain('\n');
    });
    expect(() => readFileSync(output)).toThrow('ENOENT');
  });

  test('in words: the same list on stderr, and nothing on stdout', async () => {
    const run = await encode(join(folder, 'refused.safetensors'), [good, bad], ['--quiet']);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    const [head, ...lines] = run.stderr.trimEnd().split('\n');
    expect(head).toMatch(/^i2l: .*--skip-bad/);
    expect(lines.map((line) => line.trim().split(': ')[0])).toEqual(names.map((name) => join(bad, name)));
  });

  test('--skip-bad: the others are used, and the refused ones still told', async () => {
    const run = await encode(join(folder, 'skipped.safetensors'), [good, bad], ['--json', '--skip-bad']);
    expect(doneOf(run).images).toBe(1);
    const refusals = linesOf(run, 'note').filter(({ code }) => code === 'IMAGE_REFUSED');
    expect(refusals.map(({ fields }) => fields['file'])).toEqual(names.map((name) => join(bad, name)));
  });
});

/** Root reads everything, so root runs these as nobody. */
describe.skipIf(process.platform === 'win32')('what may not be read or written', () => {
  const asNobody: CliOptions = process.getuid?.() === 0 ? { uid: NOBODY, cwd: '/' } : {};
  const locked = join(folder, 'locked');
  const lockedImage = join(folder, 'locked.png');
  const open = join(folder, 'open');

  beforeAll(async () => {
    mkdirSync(locked, { mode: 0o000 });
    chmodSync(locked, 0o000);
    await noise(32, 32, 3).toFile(lockedImage);
    chmodSync(lockedImage, 0o000);
    mkdirSync(open);
    chmodSync(open, 0o777);
    if (process.getuid?.() !== 0) return;
    for (const path of [models, good]) execFileSync('chmod', ['-R', 'a+rX', path]);
  });

  test('an unreadable folder', async () => {
    const { message } = failureOf(
      await encode(join(open, 'x.safetensors'), [good, locked], ['--json'], asNobody),
      'FILE_UNREADABLE',
    );
    expect(message).toBe(`${locked}: it can't be read (permission denied).`);
  });

  test('an unreadable image', async () => {
    const { message } = failureOf(
      await encode(join(open, 'x.safetensors'), [lockedImage], ['--json'], asNobody),
      'FILE_UNREADABLE',
    );
    expect(message).toBe(`${lockedImage}: it can't be read (permission denied).`);
  });

  test.each(['x.safetensors', 'new/x.safetensors'])('an output in a folder that is closed: %s', async (name) => {
    const output = join(locked, name);
    const { message } = failureOf(await encode(output, [good], ['--json'], asNobody), 'FILE_WRITE_FAILED');
    expect(message).toBe(`${output}: it can't be written (permission denied).`);
  });
});
