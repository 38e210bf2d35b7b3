import { defineConfig } from '@playwright/test';
import { chromium, isCi } from './chromium.ts';

if (chromium === undefined) {
  const message = 'No Chromium was found: set I2L_CHROMIUM to one, or install the package chromium.';
  if (isCi) throw new Error(message);
  console.warn(`\n${'!'.repeat(80)}\nEND-TO-END TESTS ARE SKIPPED. ${message}\n${'!'.repeat(80)}\n`);
}

/** The real app in server mode, in the system's Chromium. `npm run build` comes before. */
export default defineConfig({
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
});
