import { app } from 'electron';
import { fileURLToPath } from 'node:url';
import { openWindow } from './shell/window.ts';

/** The desktop app's entry: a page of named steps. */
const preload = fileURLToPath(new URL('../preload/index.cjs', import.meta.url));
const page = fileURLToPath(new URL('../renderer/index.html', import.meta.url));
const developmentServer = process.env['ELECTRON_RENDERER_URL'];

if (app.requestSingleInstanceLock()) {
  await app.whenReady();
  openWindow(preload, developmentServer === undefined ? { file: page } : { url: developmentServer });
  app.on('window-all-closed', () => app.quit());
} else {
  app.quit();
}
