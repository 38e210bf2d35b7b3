import { RPCHandler } from '@orpc/server/message-port';
import { app, crashReporter, dialog, nativeTheme } from 'electron';
import { fileURLToPath } from 'node:url';
import { openApp, type App } from './app.ts';
import { I2lError } from './contract/errors.ts';
import { dataFolder } from './data-folder.ts';
import { router } from './handlers/api.ts';
import { openBridge } from './shell/bridge.ts';
import { utilityEngines } from './shell/engine.ts';
import { setMenu } from './shell/menu.ts';
import { followQueue } from './shell/progress.ts';
import { declareScheme, serveScheme } from './shell/protocol.ts';
import { openWindow } from './shell/window.ts';
import { Assets } from './web/assets.ts';
import { makeSite } from './web/site.ts';

/** The desktop app's entry: a page of named steps. */
const preload = fileURLToPath(new URL('../preload/index.cjs', import.meta.url));
const interfaceFolder = fileURLToPath(new URL('../renderer', import.meta.url));
const engineScript = fileURLToPath(new URL('./engine.ts', import.meta.url));

if (app.requestSingleInstanceLock()) {
  declareScheme();
  keepCrashReportsHere();
  await app.whenReady();
  await start().catch(giveUp);
} else {
  app.quit();
}

async function start(): Promise<void> {
  const assets = new Assets(interfaceFolder);
  const studio = await openApp({
    dataFolder: dataFolder(),
    name: 'i2L Studio',
    startEngine: utilityEngines(engineScript),
  });
  closeBeforeQuit(studio);
  followTheme(studio);
  setMenu();
  serveScheme(makeSite({ assets, library: studio.services.library }));
  const rpc = new RPCHandler(router);
  openBridge((port) => rpc.upgrade(port, { context: { ...studio.services, mode: 'desktop' } }));
  const window = openWindow(preload);
  app.on('second-instance', () => window.show());
  app.on('window-all-closed', () => app.quit());
  await followQueue(studio.services.queue.events.watch(), window);
}

/** Never uploaded: they lie in the app's folder, for the user to pass on. */
function keepCrashReportsHere(): void {
  crashReporter.start({ uploadToServer: false });
}

/** Jobs come to rest at their next safe point before the process ends. */
function closeBeforeQuit(studio: App): void {
  let closed = false;
  app.on('will-quit', (event) => {
    if (closed) return;
    event.preventDefault();
    void studio.close().finally(() => {
      closed = true;
      app.quit();
    });
  });
}

function followTheme({ services: { settings } }: App): void {
  nativeTheme.themeSource = settings.get().theme;
  settings.onChange(({ theme }) => {
    nativeTheme.themeSource = theme;
  });
}

/** The data folder is in use, the disk is full …: said in one sentence, since there is no window yet. */
function giveUp(error: unknown): void {
  dialog.showErrorBox('i2L Studio', I2lError.from(error).message);
  app.quit();
}
