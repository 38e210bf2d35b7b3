import { BrowserWindow, nativeTheme, shell, type BrowserWindowConstructorOptions } from 'electron';
import { isOurs, PAGE } from './protocol.ts';
import type { WindowState } from './window-state.ts';

/** What the renderer may do: nothing of the system's. Asserted by test/shell/window.test.ts. */
export function windowOptions(preload: string): BrowserWindowConstructorOptions {
  return {
    width: 1280,
    height: 820,
    minWidth: 900,
    minHeight: 600,
    show: false,
    title: 'i2L Studio',
    backgroundColor: nativeTheme.shouldUseDarkColors ? '#15131f' : '#ffffff',
    webPreferences: { preload, sandbox: true, contextIsolation: true, nodeIntegration: false, webSecurity: true },
  };
}

/** Shows the page of i2l://app/, which can go nowhere else. */
export function openWindow(preload: string, state: WindowState): BrowserWindow {
  const window = new BrowserWindow({ ...windowOptions(preload), ...state.bounds() });
  if (state.maximized) window.maximize();
  state.follow(window);
  const { webContents } = window;
  webContents.on('will-navigate', (event) => stayHere(event, event.url));
  webContents.on('will-frame-navigate', (event) => stayHere(event, event.url));
  webContents.on('will-redirect', (event) => event.preventDefault());
  webContents.on('will-attach-webview', (event) => event.preventDefault());
  webContents.setWindowOpenHandler(({ url }) => {
    if (url.startsWith('https://')) void shell.openExternal(url);
    return { action: 'deny' };
  });
  webContents.session.setPermissionRequestHandler((_contents, _permission, answer) => answer(false));
  webContents.session.setPermissionCheckHandler(() => false);
  window.once('ready-to-show', () => window.show());
  void window.loadURL(PAGE);
  return window;
}

function stayHere(event: { preventDefault(): void }, url: string): void {
  if (!isOurs(url)) event.preventDefault();
}
