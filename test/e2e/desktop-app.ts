import { _electron as driver } from '@playwright/test';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installedElectron } from '../../build/electron-binary.ts';
import type { DesktopApp } from './running-app.ts';

/** The built desktop app in Electron itself, by Playwright's driver. */
const root = fileURLToPath(new URL('../..', import.meta.url));

/** `I2L_ELECTRON_BINARY` names another than the package's. */
export const electron = process.env['I2L_ELECTRON_BINARY'] ?? installedElectron();

/** @param env over the test's own */
export async function startDesktop(home: string, env: NodeJS.ProcessEnv = {}): Promise<DesktopApp> {
  const all = Object.entries({ ...process.env, ...env, I2L_HOME: home }).filter((entry): entry is [string, string] => entry[1] !== undefined); // prettier-ignore
  const running = await driver.launch({
    ...(electron === undefined ? {} : { executablePath: electron }),
    // Its own single instance, whatever else runs here; Chromium has no sandbox for root.
    args: [root, `--user-data-dir=${join(home, 'electron')}`, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
    cwd: root,
    env: Object.fromEntries(all),
  });
  const pid = running.process().pid;
  if (pid === undefined) throw new Error('Electron has no process.');
  const window = await running.firstWindow();
  const dialogsGive = (paths: readonly string[]): Promise<void> =>
    running.evaluate(({ dialog }, filePaths) => {
      dialog.showOpenDialog = () => Promise.resolve({ canceled: false, filePaths: [...filePaths] });
    }, paths);
  return { kind: 'desktop', window, home, models: join(home, 'models'), pid, dialogsGive, stop: () => running.close() };
}
