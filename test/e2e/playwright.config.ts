import { defineConfig } from '@playwright/test';
import { chromium, isCi } from './chromium.ts';
import { electron } from './desktop-app.ts';
import type { WorkerOptions } from './fixture.ts';

if (chromium === undefined) {
  const message = 'No Chromium was found: set I2L_CHROMIUM to one, or install the package chromium.';
  if (isCi) throw new Error(message);
  shout(`END-TO-END TESTS ARE SKIPPED. ${message}`);
}
if (electron === undefined) {
  shout("THE DESKTOP APP ITSELF IS NOT TESTED: Electron's program is not here. The same tests run in a browser alone.");
}

function shout(message: string): void {
  // Each worker reads this file again.
  if (process.env['TEST_WORKER_INDEX'] === undefined) console.warn(`\n${'!'.repeat(80)}\n${message}\n${'!'.repeat(80)}\n`);
}

/** The real app: in server mode in the system's Chromium, and in Electron where that is. `npm run build` comes before. */
export default defineConfig<object, WorkerOptions>({
  testDir: '.',
  outputDir: '../../test-results',
  // The app computes: two at once on two cores make each other late.
  workers: 1,
  forbidOnly: isCi,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: isCi ? 'line' : 'list',
  use: {
    headless: true,
    viewport: { width: 1280, height: 820 },
    trace: 'retain-on-failure',
    ...(chromium === undefined ? {} : { launchOptions: { executablePath: chromium } }),
  },
  projects: [{ name: 'browser' }, ...(electron === undefined ? [] : [{ name: 'desktop', use: { desktop: true } }])],
});
