import { beforeEach, expect, test, vi } from 'vitest';

/** The stand-in gives a template back as it came: Electron's binary fills the roles in. */
const { setApplicationMenu } = vi.hoisted(() => ({ setApplicationMenu: vi.fn() }));
vi.mock('electron', () => ({ Menu: { setApplicationMenu, buildFromTemplate: (template: unknown) => template } }));
const { setMenu } = await import('../../main/shell/menu.ts');

beforeEach(() => setApplicationMenu.mockReset());

function rolesOn(platform: NodeJS.Platform): unknown[] {
  setMenu(platform);
  expect(setApplicationMenu).toHaveBeenCalledOnce();
  return (setApplicationMenu.mock.lastCall?.[0] as { role?: string }[]).map(({ role }) => role);
}

test.each(['win32', 'linux'] as const)('%s: file, edit, view and window, with what each system has in them', (platform) => {
  expect(rolesOn(platform)).toEqual(['fileMenu', 'editMenu', 'viewMenu', 'windowMenu']);
});

test("macOS: before them the app's own, which has About, Hide and Quit", () => {
  expect(rolesOn('darwin')).toEqual(['appMenu', 'fileMenu', 'editMenu', 'viewMenu', 'windowMenu']);
});

test("no shortcut of its own: those of the page are the page's, and a role brings the one that the system has", () => {
  for (const platform of ['win32', 'linux', 'darwin'] as const) {
    setApplicationMenu.mockReset();
    setMenu(platform);
    const items = setApplicationMenu.mock.lastCall?.[0] as object[];
    expect(items.filter((item) => 'accelerator' in item || 'click' in item || 'submenu' in item)).toEqual([]);
  }
});
