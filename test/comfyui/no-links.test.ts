import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { exportToComfyui } from '../../main/comfyui/export.ts';
import { publishNew, writePart } from '../../main/weights/atomic-copy.ts';
import { tempFolder } from '../unit/temp.ts';
import { makeLora } from './fake-home.ts';

/** A disk such as exFAT, on which a file has one name. */
vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof import('node:fs/promises')>()),
  link: () => Promise.reject(Object.assign(new Error('not supported'), { code: 'EPERM' })),
}));

const root = tempFolder();

test('an export works without hard links', async () => {
  const file = makeLora(join(root, 'out', 'fox.safetensors'));
  const lorasFolder = join(root, 'loras');
  const first = await exportToComfyui({ file, lorasFolder, sidecar: true });
  const second = await exportToComfyui({ file: makeLora(file, 2), lorasFolder, sidecar: true });
  expect([first.loraName, second.loraName].map((name) => name.slice(4))).toEqual(['fox.safetensors', 'fox-v2.safetensors']);
  expect(readdirSync(join(lorasFolder, 'i2L'))).toHaveLength(4);
});

test('and still does not replace what is there', async () => {
  const target = join(root, 'x.txt');
  const part = await writePart(target, 'new');
  writeFileSync(target, 'old');
  expect(await publishNew(part)).toBe(false);
  expect([readFileSync(target, 'utf8'), existsSync(part.temporary)]).toEqual(['old', false]);
});
