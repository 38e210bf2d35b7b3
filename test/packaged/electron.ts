import { EventEmitter } from 'node:events';

/**
 * What main/index.ts uses of Electron, for a run of the packed app in plain Node. When the window is opened,
 * the page and all that it names are asked for by the app's own scheme, told on stdout, and the app is quit.
 */
type Handler = (request: Request) => Promise<Response>;

let handler: Handler | undefined;

class App extends EventEmitter {
  requestSingleInstanceLock = (): boolean => true;
  whenReady = (): Promise<void> => Promise.resolve();
  setAppUserModelId = (): void => undefined;
  setPath = (): void => undefined;
  getLocale = (): string => 'en';
  quit = (): void => {
    let held = false;
    this.emit('will-quit', { preventDefault: () => (held = true) });
    if (!held) process.exit();
  };
}

export const app = new App();
export const nativeTheme = { themeSource: 'system', shouldUseDarkColors: false };
export const safeStorage = { isEncryptionAvailable: (): boolean => false };
export const crashReporter = { start: (): void => undefined };
export const shell = {};
export const nativeImage = {};
export const utilityProcess = {};
export const screen = { getAllDisplays: (): object[] => [{ workArea: { x: 0, y: 0, width: 1920, height: 1080 } }] };
export const ipcMain = new EventEmitter();
export const Menu = { setApplicationMenu: (): void => undefined, buildFromTemplate: (template: unknown): unknown => template };
export class MessageChannelMain {}
export class Notification {}
export const dialog = {
  showErrorBox: (title: string, text: string): void => {
    process.stderr.write(`${title}: ${text}\n`);
    process.exitCode = 1;
  },
  showOpenDialog: (): Promise<object> => Promise.resolve({ canceled: true, filePaths: [] }),
};
export const protocol = {
  registerSchemesAsPrivileged: (): void => undefined,
  handle: (_scheme: string, answer: Handler): void => void (handler = answer),
};

export class BrowserWindow extends EventEmitter {
  webContents = Object.assign(new EventEmitter(), {
    setWindowOpenHandler: (): void => undefined,
    session: { setPermissionRequestHandler: (): void => undefined, setPermissionCheckHandler: (): void => undefined },
  });
  getNormalBounds = (): object => ({ x: 0, y: 0, width: 1280, height: 820 });
  isMaximized = (): boolean => false;
  isDestroyed = (): boolean => false;
  isFocused = (): boolean => true;
  setProgressBar = (): void => undefined;
  show = (): void => undefined;
  maximize = (): void => undefined;
  loadURL = async (page: string): Promise<void> => {
    const html = await (await ask(page)).text();
    const named = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => new URL(path, page).href);
    const answers = await Promise.all(named.map(async (url) => ({ url, status: (await ask(url)).status })));
    process.stdout.write(`${JSON.stringify({ html, answers })}\n`);
    // As Electron: the event loop goes on until the app has closed what it opened.
    setImmediate(() => app.quit());
  };
}

function ask(url: string): Promise<Response> {
  if (!handler) throw new Error('the scheme is not served');
  return handler(new Request(url));
}
