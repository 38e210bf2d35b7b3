import { beforeEach, expect, test, vi } from 'vitest';
import type { BrowserWindow } from 'electron';
import { ChosenPaths } from '../../main/handlers/paths.ts';

const { showOpenDialog } = vi.hoisted(() => ({ showOpenDialog: vi.fn() }));
vi.mock('electron', () => ({ dialog: { showOpenDialog } }));
const { pickPaths } = await import('../../main/shell/picker.ts');

const window = { id: 1 } as unknown as BrowserWindow;
let chosen: ChosenPaths;

beforeEach(() => {
  chosen = new ChosenPaths();
  showOpenDialog.mockReset();
});

async function pick(what: Parameters<typeof pickPaths>[2]['what'], filePaths: readonly string[]): Promise<unknown> {
  showOpenDialog.mockResolvedValue({ canceled: filePaths.length === 0, filePaths: [...filePaths] });
  expect(await pickPaths(window, chosen, { what, title: '选择' })).toEqual(filePaths);
  expect(showOpenDialog.mock.lastCall?.[0]).toBe(window);
  return showOpenDialog.mock.lastCall?.[1] as unknown;
}

test('images: several files, of the endings that are taken', async () => {
  expect(await pick('images', ['/a/1.png', '/b/2.jpg'])).toEqual({
    title: '选择',
    properties: ['openFile', 'multiSelections'],
    filters: [{ name: '选择', extensions: expect.arrayContaining(['png', 'jpg', 'heic']) as string[] }],
  });
});

test('LoRAs: several safetensors files', async () => {
  expect(await pick('loras', ['/a/1.safetensors'])).toMatchObject({ filters: [{ extensions: ['safetensors'] }] });
});

test('a folder, and one that may be made', async () => {
  expect(await pick('folder', ['/a'])).toEqual({ title: '选择', properties: ['openDirectory'] });
  expect(await pick('new-folder', ['/b'])).toMatchObject({ properties: ['openDirectory', 'createDirectory', 'promptToCreate'] });
});

test('what was chosen may be named from then on, and nothing else', async () => {
  expect(() => chosen.allow('/a/1.png')).toThrow();
  await pick('images', ['/a/1.png']);
  expect(chosen.allow('/a/1.png')).toBe('/a/1.png');
  expect(() => chosen.allow('/a/2.png')).toThrow();
});

test('a dialog that was closed allows nothing', async () => {
  await pick('folder', []);
  expect(() => chosen.allow('/')).toThrow();
});
