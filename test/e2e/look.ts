import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import AxeBuilder from '@axe-core/playwright';
import { expect, type Page } from '@playwright/test';
import type { AppClient } from './client.ts';

/** What each screen is looked at for: as a picture by people, and by axe. */

/** `I2L_SCREENSHOTS=1` renews those that are kept with the code. */
const pictures = fileURLToPath(
  new URL(process.env['I2L_SCREENSHOTS'] ? './screenshots/' : '../../test-results/screenshots/', import.meta.url),
);
export const THEMES = ['dark', 'light'] as const;
export const LANGUAGES = ['en', 'zh-CN'] as const;
const RULES = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'];
/** Colours fade for a moment after a theme changes; axe would measure the way between. */
const FADE_MS = 300;

export type Theme = (typeof THEMES)[number];
export type Language = (typeof LANGUAGES)[number];

/** Sets both for the app, as another window would, and waits until this one shows them. */
export async function setLook({ api }: AppClient, page: Page, theme: Theme, language: Language): Promise<void> {
  await api.app.settings.set({ theme, language });
  await expect(page.locator('html')).toHaveAttribute('lang', language);
  await expect(page.locator('html')).toHaveAttribute('data-theme', theme);
}

/** As it was before setLook. */
export async function resetLook({ api }: AppClient): Promise<void> {
  await api.app.settings.set({ theme: 'system', language: 'en' });
}

/**
 * axe finds nothing against WCAG 2.2 AA in what is shown now, in either theme; the app's is to be the system's.
 * @param part a selector of what is new on the page, if not all is
 */
export async function expectAccessible(page: Page, where: string, part = 'html'): Promise<void> {
  for (const colorScheme of THEMES) {
    await page.emulateMedia({ colorScheme });
    await expect(page.locator('html')).toHaveAttribute('data-theme', colorScheme);
    await page.waitForTimeout(FADE_MS);
    await expectNoFindings(page, `${where}, ${colorScheme}`, part);
  }
}

/** Takes a picture under this name, and looks at the same with axe. */
export async function look(page: Page, name: string): Promise<void> {
  await page.mouse.move(0, 0);
  await page.waitForTimeout(FADE_MS);
  await page.screenshot({ path: join(pictures, `${name}.jpeg`), type: 'jpeg', quality: 70 });
  await expectNoFindings(page, name);
}

async function expectNoFindings(page: Page, where: string, part = 'html'): Promise<void> {
  // The other mode opens pages beside this one, for frames of other sites: there are none, and Electron's window can't.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().include(part).withTags(RULES).analyze();
  const found = violations.map(({ id, nodes }) => ({ id, targets: nodes.map(({ target }) => target.join(' ')) }));
  expect(found, where).toEqual([]);
}
