import { test as base, expect, type Page } from '@playwright/test';
import { chromium } from './chromium.ts';
import { makeHome, removeHome, startApp, type RunningApp } from './running-app.ts';

interface PageFixtures {
  /** A page that is signed in and shows the app. */
  readonly studio: Page;
  /** What went wrong in the page while the test ran; a test that expects some empties it. */
  readonly problems: string[];
}

interface WorkerFixtures {
  /** One server for all tests of a file. */
  readonly app: RunningApp;
}

/** `import { expect, test } from './fixture.ts'`; then `test('…', async ({ studio, app }) => …)`. */
export const test = base.extend<PageFixtures, WorkerFixtures>({
  app: [
    // eslint-disable-next-line no-empty-pattern -- Playwright reads the names of what is asked for
    async ({}, use) => {
      if (chromium === undefined) return use(undefined as never);
      const home = await makeHome();
      const app = await startApp(home);
      await use(app);
      await app.stop();
      removeHome(home);
    },
    { scope: 'worker', timeout: 60_000 },
  ],
  problems: [
    // eslint-disable-next-line no-empty-pattern
    async ({}, use, testInfo) => {
      testInfo.skip(chromium === undefined, 'no Chromium');
      const problems: string[] = [];
      await use(problems);
      expect(problems, 'errors in the page').toEqual([]);
    },
    { auto: true },
  ],
  page: async ({ page, problems }, use) => {
    await watch(page, problems);
    await use(page);
  },
  studio: async ({ page, app }, use) => {
    await page.goto(app.link);
    await use(page);
  },
});

export { expect };

/** Errors that a page logs or throws, and what the content security policy forbade it. For pages that a test opens itself. */
export async function watch(page: Page, problems: string[]): Promise<void> {
  page.on('pageerror', (error) => problems.push(`thrown: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(`${message.type()}: ${message.text()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      console.error(`content security policy: ${violatedDirective} forbids ${blockedURI}`);
    });
  });
}
