import { RPCHandler } from '@orpc/server/message-port';
import { app, crashReporter, dialog, nativeTheme, shell } from 'electron';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openApp, type App } from './app.ts';
import type { PickRequest } from './contract/app.ts';
import { I2lError } from './contract/errors.ts';
import { dataFolder } from './data-folder.ts';
import { router } from './handlers/api.ts';
import { ChosenPaths } from './handlers/paths.ts';
import { openBridge } from './shell/bridge.ts';
import { dragOutOf } from './shell/drag-out.ts';
import { utilityEngines } from './shell/engine.ts';
import { setMenu } from './shell/menu.ts';
import { pickPaths } from './shell/picker.ts';
import { followQueue } from './shell/progress.ts';
import { declareScheme, serveScheme } from './shell/protocol.ts';
import { KeptTokens } from './shell/tokens.ts';
import { WindowState } from './shell/window-state.ts';
import { openWindow } from './shell/window.ts';
import { endWords } from './shell/words.ts';
import { Assets } from './web/assets.ts';
import { makeSite } from './web/site.ts';

/** The desktop app's entry: a page of named steps. */
const preload = fileURLToPath(new URL('../preload/index.cjs', import.meta.url));
const interfaceFolder = fileURLToPath(new URL('../renderer', import.meta.url));
/** Of the Windows installer's shortcut as well, so that notifications are the app's: build/packaging.ts. */
const APP_ID = 'studio.i2l.app';
const engineScript = fileURLToPath(new URL('./engine.ts', import.meta.url));

if (app.requestSingleInstanceLock()) {
  app.setAppUserModelId(APP_ID);
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
    tokens: new KeptTokens(join(dataFolder(), 'tokens.json')),
  });
  const windowState = await WindowState.open(join(dataFolder(), 'window.json'));
  closeBeforeQuit(studio, windowState);
  followTheme(studio);
  setMenu();
  serveScheme(makeSite({ assets, library: studio.services.library }));
  const rpc = new RPCHandler(router);
  const chosen = new ChosenPaths([studio.services.demo.imagesFolder]);
  const own = {
    allowPath: (path: string) => chosen.allow(path),
    pick: (request: PickRequest) => pickPaths(window, chosen, request),
    showInFolder,
  };
  openBridge((port, page) =>
    rpc.upgrade(port, { context: { ...studio.services, ...own, dragOut: dragOutOf(page), mode: 'desktop' } }),
  );
  const window = openWindow(preload, windowState);
  app.on('second-instance', () => window.show());
  app.on('window-all-closed', () => app.quit());
  const { queue, settings } = studio.services;
  await followQueue(queue.events.watch(), window, () => endWords(settings.get().language, app.getLocale()));
}

/** By the library's own word: no path comes from the page. */
function showInFolder(file: string): void {
  shell.showItemInFolder(file);
}

/** Never uploaded: they lie in the data folder, for the user to pass on. */
function keepCrashReportsHere(): void {
  app.setPath('crashDumps', join(dataFolder(), 'crash-reports'));
  crashReporter.start({ uploadToServer: false });
}

/** Jobs come to rest at their next safe point, and the window's place is written, before the process ends. */
function closeBeforeQuit(studio: App, windowState: WindowState): void {
  let closed = false;
  app.on('will-quit', (event) => {
    if (closed) return;
    event.preventDefault();
    void Promise.allSettled([studio.close(), windowState.written()]).then(() => {
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
