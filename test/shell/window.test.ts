import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { WindowState } from '../../main/shell/window-state.ts';

/** Electron's binary isn't needed to see what the window is told. */
const { contents, made, openExternal, maximize } = vi.hoisted(() => ({
  maximize: vi.fn(),
  contents: {
    on: vi.fn(),
    setWindowOpenHandler: vi.fn(),
    session: { setPermissionRequestHandler: vi.fn(), setPermissionCheckHandler: vi.fn() },
  },
  made: [] as unknown[],
  openExternal: vi.fn(),
}));

vi.mock('electron', () => ({
  BrowserWindow: class {
    webContents = contents;
    once = vi.fn();
    maximize = maximize;
    loadFile = vi.fn(() => Promise.resolve());
    loadURL = vi.fn(() => Promise.resolve());
    constructor(options: unknown) {
      made.push(options);
    }
  },
  shell: { openExternal },
  nativeTheme: { shouldUseDarkColors: true },
  protocol: {},
}));

const { openWindow, windowOptions } = await import('../../main/shell/window.ts');

const follow = vi.fn();
const state = { bounds: () => ({ x: 5, y: 6, width: 1000, height: 700 }), maximized: false, follow } as unknown as WindowState;

beforeEach(() => {
  vi.clearAllMocks();
  made.length = 0;
});

describe('the window', () => {
  test('gives the page nothing of the system', () => {
    const { webPreferences } = windowOptions('/preload.cjs');
    expect(webPreferences).toEqual({
      preload: '/preload.cjs',
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      webSecurity: true,
    });
  });

  test('is made with these options, where it was', () => {
    openWindow('/preload.cjs', state);
    expect(made).toEqual([{ ...windowOptions('/preload.cjs'), x: 5, y: 6, width: 1000, height: 700 }]);
    expect(follow).toHaveBeenCalledOnce();
    expect(maximize).not.toHaveBeenCalled();
    openWindow('/preload.cjs', { ...state, maximized: true } as WindowState);
    expect(maximize).toHaveBeenCalledOnce();
  });

  test.each([
    ['will-navigate', 'https://example.org/', true],
    ['will-navigate', 'i2l://other/', true],
    ['will-navigate', 'file:///etc/passwd', true],
    ['will-navigate', 'i2l://app/', false],
    ['will-frame-navigate', 'https://example.org/', true],
    ['will-redirect', 'i2l://app/', true],
    ['will-attach-webview', '', true],
  ])('on %s to %s', (name, url, denied) => {
    openWindow('/preload.cjs', state);
    const [, listener] = contents.on.mock.calls.find(([event]) => event === name) ?? [];
    const event = { url, preventDefault: vi.fn() };
    listener?.(event);
    expect(event.preventDefault).toHaveBeenCalledTimes(denied ? 1 : 0);
  });

  test.each([
    ['https://example.org/', 1],
    ['http://example.org/', 0],
    ['file:///etc/passwd', 0],
    ['javascript:alert(1)', 0],
  ])('opens no window for %s', (url, outside) => {
    openWindow('/preload.cjs', state);
    const [[handler]] = contents.setWindowOpenHandler.mock.calls as [[(details: { url: string }) => unknown]];
    expect(handler({ url })).toEqual({ action: 'deny' });
    expect(openExternal).toHaveBeenCalledTimes(outside);
  });

  test('denies every permission', () => {
    openWindow('/preload.cjs', state);
    const [[handler]] = contents.session.setPermissionRequestHandler.mock.calls as [
      [(contents: unknown, permission: string, answer: (allowed: boolean) => void) => void],
    ];
    const answer = vi.fn();
    handler({}, 'media', answer);
    expect(answer).toHaveBeenCalledWith(false);
    const [[check]] = contents.session.setPermissionCheckHandler.mock.calls as [[() => boolean]];
    expect(check()).toBe(false);
  });
});
