import { test as base, expect, type Page } from '@playwright/test';
import { chromium } from './chromium.ts';
import { startDesktop } from './desktop-app.ts';
import { makeHome, removeHome, startServer, type RunningApp, type ServedApp } from './running-app.ts';

interface PageFixtures {
  /** Each spec file's own: nothing of it is known to another. */
  readonly app: RunningApp;
  /** The same in server mode; a test that asks for it is a browser's alone. */
  readonly served: ServedApp;
  /** A page that is signed in and shows the app. */
  readonly studio: Page;
  /** Another tab of the same browser, as `studio`. */
  readonly openTab: () => Promise<Page>;
  /** Shows an app that a test started itself. */
  readonly show: (app: RunningApp) => Promise<Page>;
  /** What went wrong in the page while the test ran; a test that expects some empties it. */
  readonly problems: string[];
}

interface WorkerFixtures {
  readonly apps: AppOfFile;
}

export interface WorkerOptions {
  /** In Electron's window instead of a browser. */
  readonly desktop: boolean;
}

/** One app at a time: that of the spec file whose tests are running. */
class AppOfFile {
  readonly start: typeof startServer | typeof startDesktop;
  #file: string | undefined;
  #app: RunningApp | undefined;

  constructor(desktop: boolean) {
    this.start = desktop ? startDesktop : startServer;
  }

  async get(file: string): Promise<RunningApp> {
    if (this.#app && this.#file === file) return this.#app;
    await this.end();
    this.#file = file;
    this.#app = await this.start(await makeHome());
    return this.#app;
  }

  async end(): Promise<void> {
    const app = this.#app;
    this.#app = undefined;
    await app?.stop();
    if (app) removeHome(app.home);
  }
}

/** `import { expect, test } from './fixture.ts'`; then `test('…', async ({ studio, app }) => …)`. */
export const test = base.extend<PageFixtures, WorkerFixtures & WorkerOptions>({
  desktop: [false, { scope: 'worker', option: true }],
  apps: [
    async ({ desktop }, use) => {
      const apps = new AppOfFile(desktop);
      await use(apps);
      await apps.end();
    },
    { scope: 'worker', timeout: 60_000 },
  ],
  app: [
    async ({ apps }, use, { file }) => {
      if (chromium === undefined) return use(undefined as never);
      await use(await apps.get(file));
    },
    { timeout: 60_000 },
  ],
  served: async ({ app }, use, testInfo) => {
    testInfo.skip(app.kind !== 'served', 'a window has no address');
    await use(app as ServedApp);
  },
  problems: [
    // eslint-disable-next-line no-empty-pattern -- Playwright reads the names of what is asked for
    async ({}, use, testInfo) => {
      testInfo.skip(chromium === undefined, 'no Chromium');
      const problems: string[] = [];
      await use(problems);
      expect(problems, 'errors in the page').toEqual([]);
    },
    { auto: true },
  ],
  page: async ({ page, problems }, use) => {
    const stop = watch(page, problems);
    await use(page);
    stop();
  },
  show: async ({ context, problems }, use) => {
    const stops: (() => void)[] = [];
    await use(async (app) => {
      const page = await pageFor(app, () => context.newPage());
      stops.push(watch(page, problems));
      await load(app, page);
      return page;
    });
    for (const stop of stops) stop();
  },
  studio: async ({ app, show }, use) => use(await show(app)),
  openTab: async ({ served, show }, use) => use(() => show(served)),
});

export { expect };

/** Where an app is shown; {@link load} comes next. */
export async function pageFor(app: RunningApp, newPage: () => Promise<Page>): Promise<Page> {
  return app.kind === 'desktop' ? app.window : newPage();
}

/** The first screen, signed in. */
export async function load(app: RunningApp, page: Page): Promise<void> {
  await page.goto(app.kind === 'desktop' ? DESKTOP_PAGE : app.link);
}

const DESKTOP_PAGE = 'i2l://app/';

/**
 * Notes the errors that a page logs or throws; what its content security policy forbids, Chromium logs.
 * @returns what ends it
 */
export function watch(page: Page, problems: string[]): () => void {
  const onError = (error: Error): void => void problems.push(`thrown: ${error.message}`);
  const onMessage = (message: { type(): string; text(): string }): void => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(`${message.type()}: ${message.text()}`);
  };
  page.on('pageerror', onError).on('console', onMessage);
  return () => void page.off('pageerror', onError).off('console', onMessage);
}
