import { BrowserWindow, shell, type BrowserWindowConstructorOptions } from 'electron';

/** What the renderer may do: nothing of the system's. Asserted by test/shell/window.test.ts. */
export function windowOptions(preload: string): BrowserWindowConstructorOptions {
  return {
    width: 1280,
    height: 820,
    minWidth: 900,
    minHeight: 600,
    show: false,
    webPreferences: { preload, sandbox: true, contextIsolation: true, nodeIntegration: false, webSecurity: true },
  };
}

/** @param page a file, or the development server's address */
export function openWindow(preload: string, page: { readonly file: string } | { readonly url: string }): BrowserWindow {
  const window = new BrowserWindow(windowOptions(preload));
  const { webContents } = window;
  webContents.on('will-navigate', (event) => event.preventDefault());
  webContents.setWindowOpenHandler(({ url }) => {
    if (url.startsWith('https://')) void shell.openExternal(url);
    return { action: 'deny' };
  });
  webContents.session.setPermissionRequestHandler((_contents, _permission, answer) => answer(false));
  window.once('ready-to-show', () => window.show());
  void ('file' in page ? window.loadFile(page.file) : window.loadURL(page.url));
  return window;
}
