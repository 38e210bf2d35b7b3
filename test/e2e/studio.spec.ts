import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { connect } from './client.ts';
import { expect, test } from './fixture.ts';

const examples = fileURLToPath(new URL('../../resources/examples/', import.meta.url));
/** `I2L_SCREENSHOTS=1` renews those that are kept with the code. */
const shots = fileURLToPath(
  new URL(process.env['I2L_SCREENSHOTS'] ? './screenshots/' : '../../test-results/screenshots/', import.meta.url),
);
const EXAMPLES = ['hills.jpg', 'sea.jpg', 'town.jpg'];
const THEMES = ['dark', 'light'] as const;
const LANGUAGES = ['en', 'zh-CN'] as const;
/** The others have specs of their own. */
const SCREENS = ['queue', 'settings'] as const;

const open = (page: Page, screen: string) => page.evaluate((hash) => void (location.hash = hash), `#/${screen}`);

/** A new image set by the page's own button, with the examples, open on the Create screen. */
async function fillDraft(page: Page, name: string, files: readonly string[] = EXAMPLES): Promise<void> {
  await open(page, 'create');
  await page.getByRole('button', { name: 'New set', exact: true }).click();
  await expect(page.getByText('Drop your images here')).toBeVisible();
  await page
    .getByLabel('Add images')
    .last()
    .setInputFiles(files.map((file) => join(examples, file)));
  await expect(page.getByRole('listbox', { name: 'Images' }).getByRole('option')).toHaveCount(files.length);
  await page.getByLabel('Name of the LoRA').fill(name);
}

test('a LoRA is made: images named, estimate seen, created, watched to its end', async ({ studio, app }) => {
  await fillDraft(studio, 'From three images');
  const estimate = studio.getByRole('region', { name: 'Estimate' });
  await expect(estimate).toContainText('Rank');
  await expect(estimate).toContainText(String(4 * EXAMPLES.length));
  await studio.getByRole('button', { name: 'Create LoRA' }).click();
  await studio.getByRole('button', { name: 'Open queue' }).click();
  await studio.reload();
  const job = studio.getByRole('article').filter({ hasText: 'From three images' });
  await expect(job.getByText('Done', { exact: true })).toBeVisible({ timeout: 60_000 });
  expect(existsSync(join(app.home, 'loras', 'From three images.safetensors'))).toBe(true);
});

test('a job that fails says why, and can be run again or forgotten', async ({ studio, app }) => {
  const file = join(app.home, 'soon gone.jpg');
  copyFileSync(join(examples, 'sea.jpg'), file);
  const { api, close } = await connect(app);
  const { id } = await api.sets.create({ name: 'Without images' });
  for await (const event of await api.sets.addImages({ id, files: [file] })) if (event.type === 'done') rmSync(file);
  close();
  await open(studio, `create/${id}`);
  await expect(studio.getByText('file missing')).toBeVisible();
  await studio.getByRole('button', { name: 'Create LoRA' }).click();
  await studio.getByRole('button', { name: 'Open queue' }).click();
  const job = studio.getByRole('article').filter({ hasText: 'Without images' });
  await expect(job.getByText('Failed', { exact: true })).toBeVisible({ timeout: 30_000 });
  await expect(studio.getByRole('complementary').getByRole('alert')).toContainText('soon gone.jpg');
  await job.getByRole('button', { name: 'Actions for Without images' }).click();
  await studio.getByRole('menuitem', { name: 'Remove from list' }).click();
  await expect(job).toHaveCount(0);
});

test('a waiting job can be moved, and the queue paused, by keyboard', async ({ studio }) => {
  await open(studio, 'queue');
  await studio.getByRole('button', { name: 'Pause queue' }).click();
  await expect(studio.getByText('The queue is paused.')).toBeVisible();
  for (const name of ['First', 'Second']) {
    await fillDraft(studio, name);
    await studio.keyboard.press('Control+Enter');
    await expect(studio.getByText(`In the queue: ${name}`)).toBeVisible();
  }
  await studio.keyboard.press('Control+3');
  const titles = studio.getByRole('article').filter({ hasText: 'Waiting' }).getByRole('link');
  await expect(titles).toHaveText(['First', 'Second']);
  await studio.getByRole('button', { name: 'Actions for Second' }).focus();
  await studio.keyboard.press('Enter');
  await studio.getByRole('menuitem', { name: 'Run earlier' }).press('Enter');
  await expect(titles).toHaveText(['Second', 'First']);
  for (const name of ['First', 'Second']) {
    const job = studio.getByRole('article').filter({ hasText: name });
    await job.getByRole('button', { name: 'Cancel job', exact: true }).click();
    await expect(job.getByText('Cancelled')).toBeVisible();
  }
  await studio.getByRole('button', { name: 'Resume queue' }).click();
});

test('two windows see the same settings, and a restart of none forgets them', async ({ studio, context }) => {
  await open(studio, 'settings');
  const other = await context.newPage();
  await other.goto(studio.url());
  await expect(other.getByLabel('Theme')).toHaveValue('system');
  await studio.getByLabel('Theme').selectOption('light');
  await expect(other.locator('html')).toHaveAttribute('data-theme', 'light');
  await other.getByLabel('Language').selectOption('zh-CN');
  await expect(studio.getByRole('heading', { level: 1 })).toHaveText('设置');
  await studio.reload();
  await expect(studio.getByRole('heading', { level: 1 })).toHaveText('设置');
  await studio.getByLabel('主题').selectOption('system');
  await studio.getByLabel('语言').selectOption('en');
  await expect(studio.getByRole('heading', { level: 1 })).toHaveText('Settings');
});

test('settings are reset only when asked twice; Escape goes back', async ({ studio }) => {
  await open(studio, 'settings');
  await studio.getByLabel('CPU threads').fill('1');
  await studio.getByLabel('CPU threads').blur();
  await studio.getByRole('button', { name: 'Reset settings' }).click();
  await studio.keyboard.press('Escape');
  await expect(studio.getByRole('dialog')).toHaveCount(0);
  await expect(studio.getByLabel('CPU threads')).toHaveValue('1');
});

test('axe finds nothing on any screen, in both themes and languages; screenshots', async ({ studio }) => {
  test.setTimeout(240_000);
  for (const language of LANGUAGES) {
    for (const theme of THEMES) {
      await open(studio, 'settings');
      await studio.locator('select').nth(0).selectOption(theme);
      await studio.locator('select').nth(1).selectOption(language);
      await expect(studio.locator('html')).toHaveAttribute('lang', language);
      await expect(studio.locator('html')).toHaveAttribute('data-theme', theme);
      for (const screen of SCREENS) {
        await open(studio, screen);
        await expect(studio.getByRole('heading', { level: 1 })).toBeVisible();
        await studio.mouse.move(0, 0);
        // Colours fade for a moment after a theme changes; axe would measure the way between.
        await studio.waitForTimeout(250);
        await expect(studio.getByRole('status', { name: /Loading|正在加载/ })).toHaveCount(0);
        await studio.screenshot({ path: join(shots, `${screen}-${theme}-${language}.jpeg`), type: 'jpeg', quality: 70 });
        const { violations } = await new AxeBuilder({ page: studio })
          .withTags(['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'])
          .analyze();
        const found = violations.map(({ id, nodes }) => ({ id, targets: nodes.map(({ target }) => target.join(' ')) }));
        expect(found, `${screen}, ${theme}, ${language}`).toEqual([]);
      }
    }
  }
});
