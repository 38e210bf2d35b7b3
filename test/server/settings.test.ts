import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { DEFAULT_SETTINGS } from '../../main/contract/app.ts';
import { parseSettings, SettingsStore } from '../../main/settings/settings.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

test('what is set is on the disk, and there at the next start', async () => {
  const file = join(tempFolder(), 'new', 'settings.json');
  const store = await SettingsStore.open(file);
  expect(store.get()).toEqual(DEFAULT_SETTINGS);
  const heard = vi.fn();
  const stop = store.onChange(heard);
  await store.set({ theme: 'dark', comfyuiFolders: ['/c'] });
  stop();
  await store.set({ theme: 'light' });
  expect(heard).toHaveBeenCalledExactlyOnceWith({ ...DEFAULT_SETTINGS, theme: 'dark', comfyuiFolders: ['/c'] });
  expect((await SettingsStore.open(file)).get()).toEqual({ ...DEFAULT_SETTINGS, theme: 'light', comfyuiFolders: ['/c'] });
});

test('changes at once all count', async () => {
  const store = await SettingsStore.open(join(tempFolder(), 'settings.json'));
  await Promise.all([store.set({ theme: 'dark' }), store.set({ threads: 3 }), store.set({ language: 'zh-CN', theme: undefined })]);
  expect(store.get()).toMatchObject({ theme: 'dark', threads: 3, language: 'zh-CN' });
});

test('a file that is damaged is kept, what is good in it counts, and the user is told', async () => {
  const folder = tempFolder();
  const file = join(folder, 'settings.json');
  writeFileSync(file, '{"theme":"dark","threads":-5,"later":true}');
  const store = await SettingsStore.open(file);
  expect(store.get()).toEqual({ ...DEFAULT_SETTINGS, theme: 'dark' });
  const kept = join(folder, readdirSync(folder).find((name) => name.startsWith('settings.json.damaged-')) ?? '');
  expect(readFileSync(kept, 'utf8')).toContain('-5');
  expect(store.notes).toMatchObject([{ code: 'SETTINGS_LEFT_OUT', fields: { file, settings: ['threads'], aside: kept } }]);
  expect(store.notes[0]?.message).toMatch(/threads can't be used \(.+\)\. The defaults are used/);
});

test.each(['{', '[]'])('a file that holds no settings (%s) is kept, and the user is told', async (text) => {
  const file = join(tempFolder(), 'settings.json');
  writeFileSync(file, text);
  const store = await SettingsStore.open(file);
  expect(store.get()).toEqual(DEFAULT_SETTINGS);
  expect(store.notes).toMatchObject([{ code: 'SETTINGS_NOT_READ', fields: { file } }]);
  const { message, fields } = store.notes[0]!;
  expect(message).toContain(fields['aside']);
  expect(readFileSync(String(fields['aside']), 'utf8')).toBe(text);
});

test('any text gives settings, and says what is wrong with it', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const { settings } = parseSettings(text);
      expect(Object.keys(settings).sort()).toEqual(Object.keys(DEFAULT_SETTINGS).sort());
    }),
  );
  expect(parseSettings('[]').faults).toHaveLength(1);
  expect(parseSettings('{').faults).toHaveLength(1);
  expect(parseSettings('{"__proto__":{"theme":"dark"}}')).toEqual({ settings: DEFAULT_SETTINGS, faults: [] });
});

test('a folder in its place is told, and a failed write changes nothing', async () => {
  const folder = tempFolder();
  expect((await rejectionOf(SettingsStore.open(folder))).code).toBe('FILE_UNREADABLE');
  writeFileSync(join(folder, 'file'), '');
  const store = await SettingsStore.open(join(folder, 'other', 'settings.json'));
  writeFileSync(join(folder, 'other'), '');
  expect((await rejectionOf(store.set({ theme: 'dark' }))).code).toBe('FILE_WRITE_FAILED');
  expect(store.get()).toEqual(DEFAULT_SETTINGS);
});
