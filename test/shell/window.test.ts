import { beforeEach, describe, expect, test, vi } from 'vitest';

/** Electron's binary isn't needed to see what the window is told. */
const { contents, made, openExternal } = vi.hoisted(() => ({
  contents: {
    on: vi.fn(),
    setWindowOpenHandler: vi.fn(),
    session: { setPermissionRequestHandler: vi.fn() },
  },
  made: [] as unknown[],
  openExternal: vi.fn(),
}));

vi.mock('electron', () => ({
  BrowserWindow: class {
    webContents = contents;
    once = vi.fn();
    loadFile = vi.fn(() => Promise.resolve());
    loadURL = vi.fn(() => Promise.resolve());
    constructor(options: unknown) {
      made.push(options);
    }
  },
  shell: { openExternal },
}));

const { openWindow, windowOptions } = await import('../../main/shell/window.ts');

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

  test('is made with these options', () => {
    openWindow('/preload.cjs', { file: '/index.html' });
    expect(made).toEqual([windowOptions('/preload.cjs')]);
  });

  test('denies navigation', () => {
    openWindow('/preload.cjs', { file: '/index.html' });
    const [, onNavigate] = contents.on.mock.calls.find(([name]) => name === 'will-navigate') ?? [];
    const event = { preventDefault: vi.fn() };
    onNavigate?.(event);
    expect(event.preventDefault).toHaveBeenCalledOnce();
  });

  test.each([
    ['https://example.org/', 1],
    ['http://example.org/', 0],
    ['file:///etc/passwd', 0],
    ['javascript:alert(1)', 0],
  ])('opens no window for %s', (url, outside) => {
    openWindow('/preload.cjs', { file: '/index.html' });
    const [[handler]] = contents.setWindowOpenHandler.mock.calls as [[(details: { url: string }) => unknown]];
    expect(handler({ url })).toEqual({ action: 'deny' });
    expect(openExternal).toHaveBeenCalledTimes(outside);
  });

  test('denies every permission', () => {
    openWindow('/preload.cjs', { file: '/index.html' });
    const [[handler]] = contents.session.setPermissionRequestHandler.mock.calls as [
      [(contents: unknown, permission: string, answer: (allowed: boolean) => void) => void],
    ];
    const answer = vi.fn();
    handler({}, 'media', answer);
    expect(answer).toHaveBeenCalledWith(false);
  });
});
