import type { Page } from '@playwright/test';
import { connect, type AppClient } from './client.ts';
import { createLoras, makeSet } from './create-loras.ts';
import { examplePath, EXAMPLES, images, open } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { expectAccessible } from './look.ts';

/** axe on every dialog and menu while it is open, in both themes; the screens below them are the other specs'. */

type OpenIt = (page: Page) => Promise<void>;

const button = (page: Page, name: string | RegExp): Promise<void> =>
  page.getByRole('button', { name, exact: true }).first().click();

const onCreate =
  (then: OpenIt): OpenIt =>
  async (page) => {
    await open(page, 'create');
    await page.getByRole('link', { name: /Of three images/ }).click();
    await expect(images(page)).toHaveCount(3);
    await then(page);
  };

/** With both LoRAs selected. */
const onSelection =
  (then: OpenIt): OpenIt =>
  async (page) => {
    await open(page, 'library');
    await page.getByRole('option', { name: 'Hills' }).click();
    await page.getByRole('option', { name: 'Sea' }).click({ modifiers: ['ControlOrMeta'] });
    await then(page);
  };

const onScreen =
  (screen: string, then: OpenIt): OpenIt =>
  async (page) => {
    await open(page, screen);
    await then(page);
  };

const DIALOGS: Readonly<Record<string, OpenIt>> = {
  'keyboard shortcuts': (page) => button(page, 'Keyboard shortcuts'),
  'import of a folder': onCreate((page) => button(page, 'Import a folder')),
  'name of a set': onCreate(async (page) => {
    await button(page, /^Actions for/);
    await page.getByRole('menuitem', { name: 'Rename' }).click();
  }),
  'crop of an image': onCreate(async (page) => {
    await images(page).first().click();
    await page.keyboard.press('Enter');
  }),
  'import of LoRAs': onScreen('library', (page) => button(page, 'Import files')),
  'export to ComfyUI': onSelection((page) => page.getByRole('toolbar').getByRole('button', { name: 'Export' }).click()),
  'export to a trainer': onScreen('library', async (page) => {
    await page.getByRole('option', { name: 'Hills' }).click();
    await page.getByRole('complementary', { name: 'Details' }).getByRole('button', { name: 'Export', exact: true }).click();
    await page.getByRole('dialog').getByLabel('Where to').selectOption('musubi');
  }),
  merge: onSelection((page) => button(page, 'Merge')),
  comparison: onSelection(async (page) => {
    await button(page, 'Compare');
    await expect(page.getByRole('cell').first()).toBeVisible({ timeout: 30_000 });
  }),
  'picture of a LoRA': onScreen('library', async (page) => {
    await page.getByRole('option', { name: 'Hills' }).click();
    await button(page, 'Choose the picture');
  }),
  tag: onSelection((page) => button(page, 'Tag')),
  'end of the trash': onScreen('library', async (page) => {
    await page.getByLabel('Trash').check();
    await button(page, 'Empty trash');
  }),
  'reset of the settings': onScreen('settings', (page) => button(page, 'Reset settings')),
};

const MENUS: Readonly<Record<string, OpenIt>> = {
  'of a set': onCreate((page) => button(page, /^Actions for/)),
  'of a job': onScreen('queue', (page) => button(page, /^Actions for/)),
  'of a model': onScreen('models', (page) => button(page, /^Actions for/)),
  'of ratings': onSelection((page) => page.getByRole('toolbar').getByRole('button', { name: 'Rating' }).click()),
};

let client: AppClient;
test.beforeAll(async ({ app }) => {
  if (!app) return;
  test.setTimeout(120_000);
  client = await connect(app);
  const made = [['Hills', ['hills.jpg']], ['Sea', ['sea.jpg']], ['Unwanted', ['town.jpg']]] as const; // prettier-ignore
  await createLoras(client, made);
  const { loras } = await client.api.loras.list({ text: 'Unwanted' });
  await client.api.loras.remove({ ids: loras.map(({ id }) => id) });
  await makeSet(client, 'Of three images', EXAMPLES.map(examplePath));
});
test.afterAll(() => client?.close());

async function findNothingIn(page: Page, role: 'dialog' | 'menu', opened: Readonly<Record<string, OpenIt>>): Promise<void> {
  for (const [name, openIt] of Object.entries(opened)) {
    await test.step(name, async () => {
      await openIt(page);
      await expect(page.getByRole(role)).toBeVisible();
      await expectAccessible(page, `${role}: ${name}`, `[role=${role}]`);
      await page.keyboard.press('Escape');
      await expect(page.getByRole(role)).toHaveCount(0);
    });
  }
}

test('every dialog', async ({ studio }) => {
  test.setTimeout(180_000);
  await findNothingIn(studio, 'dialog', DIALOGS);
});

test('every menu', async ({ studio }) => {
  test.setTimeout(90_000);
  await findNothingIn(studio, 'menu', MENUS);
});
