import { EventEmitter } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const { areas } = vi.hoisted(() => ({ areas: [{ x: 0, y: 25, width: 1920, height: 1055 }] }));
vi.mock('electron', () => ({ screen: { getAllDisplays: () => areas.map((workArea) => ({ workArea })) } }));
const { visible, WindowState } = await import('../../main/shell/window-state.ts');

const folder = tempFolder();
const place = { x: 100, y: 50, width: 1200, height: 800 };

/** Closes a window that is there; @returns what the next start knows */
async function closeAt(file: string, bounds: object, maximized: boolean) {
  const window = Object.assign(new EventEmitter(), { getNormalBounds: () => bounds, isMaximized: () => maximized });
  const state = await WindowState.open(file);
  state.follow(window as never);
  window.emit('close');
  await state.written();
  return WindowState.open(file);
}

describe("the window's place", () => {
  test('comes back, and so does that it was maximised', async () => {
    const again = await closeAt(join(folder, 'kept.json'), place, true);
    expect([again.bounds(), again.maximized]).toEqual([place, true]);
    const last = await closeAt(join(folder, 'kept.json'), { ...place, x: 7 }, false);
    expect([last.bounds(), last.maximized]).toEqual([{ ...place, x: 7 }, false]);
  });

  test('on a screen that is gone: the size alone, as far as it fits', async () => {
    const state = await closeAt(join(folder, 'gone.json'), { x: 2500, y: 100, width: 2400, height: 800 }, false);
    expect(state.bounds()).toEqual({ width: 1920, height: 800 });
  });

  test.each(['', '{', 'null', '{"x":1}', '{"x":1,"y":1,"width":-5,"height":3,"maximized":false}'])(
    'a file with %j is no place, and is written anew',
    async (text) => {
      const file = join(folder, 'bad.json');
      writeFileSync(file, text);
      const state = await WindowState.open(file);
      expect([state.bounds(), state.maximized]).toEqual([{}, false]);
      await closeAt(file, place, false);
      expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ ...place, maximized: false });
    },
  );

  test('a file that is not there is none; one that is a folder is said', async () => {
    expect((await WindowState.open(join(folder, 'none.json'))).bounds()).toEqual({});
    expect((await rejectionOf(WindowState.open(folder))).code).toBe('FILE_UNREADABLE');
  });

  test("a place that can't be written is told to who waits", async () => {
    expect((await rejectionOf(closeAt(join(folder, 'no-folder', 'x.json'), place, false))).code).toBe('FILE_NOT_FOUND');
  });

  test('wherever it was, it can be taken hold of or has no place of its own', () => {
    const int = fc.integer({ min: -5000, max: 5000 });
    const size = fc.integer({ min: 900, max: 4000 });
    fc.assert(
      fc.property(int, int, size, size, (x, y, width, height) => {
        const { x: left, y: top } = visible({ x, y, width, height }, areas);
        if (left === undefined || top === undefined) return;
        expect(Math.min(left + width, 1920) - Math.max(left, 0)).toBeGreaterThanOrEqual(120);
        expect(top).toBeGreaterThanOrEqual(25);
        expect(top).toBeLessThanOrEqual(1040);
      }),
    );
  });
});
