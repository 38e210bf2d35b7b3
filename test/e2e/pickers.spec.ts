import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from './chromium.ts';
import { connect, type AppClient } from './client.ts';
import { expect, test } from './fixture.ts';
import { makeHome, removeHome, startAppWithDialogs, type ServedApp } from './running-app.ts';

/** The page as it is in the window: what it asks the system's dialogs for, and what it does with the answers. */
const examples = fileURLToPath(new URL('../../resources/examples/', import.meta.url));
const [hills, sea, town] = ['hills.jpg', 'sea.jpg', 'town.jpg'].map((name) => join(examples, name)) as [string, string, string];
let app: ServedApp;
let client: AppClient;

test.skip(({ desktop }) => desktop, 'the stand-in is a server');
test.beforeAll(async () => {
  if (chromium === undefined) return;
  app = await startAppWithDialogs(await makeHome());
  client = await connect(app);
});
test.afterAll(async () => {
  client?.close();
  await app?.stop();
  if (app) removeHome(app.home);
});
test.beforeEach(async ({ page }) => void (await page.goto(app.link)));

function dialogsGive(choices: object): void {
  writeFileSync(join(app.home, 'choices.json'), JSON.stringify(choices));
}

test('images are chosen, and stay where they are', async ({ page }) => {
  dialogsGive({ images: [hills, sea] });
  await page.getByRole('button', { name: 'Add images' }).click();
  const images = page.getByRole('listbox', { name: 'Images' }).getByRole('option');
  await expect(images).toHaveCount(2);
  const id = Number(/\d+$/.exec(page.url())?.[0]);
  expect((await client.api.sets.get({ id })).images.map(({ file, storage }) => [file, storage])).toEqual([
    [hills, 'referenced'],
    [sea, 'referenced'],
  ]);
  const notImage = join(app.home, 'settings.json');
  dialogsGive({ images: [town, sea, notImage] });
  await page.getByRole('button', { name: 'Add images' }).click();
  await expect(images).toHaveCount(3);
  await expect(page.getByRole('alert')).toContainText('settings.json: it is not an image');
  // What was taken out is put back, though nobody chose it again.
  await images.first().click();
  await page.keyboard.press('Delete');
  await expect(images).toHaveCount(2);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(images).toHaveCount(3);
});

test('a dialog that is closed changes nothing', async ({ page }) => {
  dialogsGive({});
  const before = (await client.api.sets.list({})).total;
  await page.getByRole('button', { name: 'Add images' }).click();
  await page.getByRole('button', { name: 'Import a folder' }).click();
  await page.getByRole('button', { name: 'Choose …' }).click();
  await expect(page.getByLabel('Folder', { exact: true })).toHaveValue('');
  await expect(page.getByRole('button', { name: 'Import', exact: true })).toBeDisabled();
  expect((await client.api.sets.list({})).total).toBe(before);
});

test('a folder is chosen and not typed', async ({ page }) => {
  dialogsGive({ folder: [examples] });
  await page.getByRole('button', { name: 'Import a folder' }).click();
  const field = page.getByLabel('Folder', { exact: true });
  await expect(field).toHaveAttribute('readonly');
  await page.getByRole('button', { name: 'Choose …' }).click();
  await expect(field).toHaveValue(examples);
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'examples' })).toBeVisible();
});

test('the folders of the settings are chosen, and go back to what they were', async ({ page }) => {
  const models = join(app.home, 'my models');
  mkdirSync(models);
  dialogsGive({ folder: [models] });
  await page.evaluate(() => void (location.hash = '#/settings'));
  await page.getByRole('button', { name: 'Choose …' }).click();
  await expect.poll(async () => (await client.api.app.settings.get()).modelsFolder).toBe(models);
  await page.getByRole('button', { name: 'Back to the folder beside the data' }).click();
  await expect.poll(async () => (await client.api.app.settings.get()).modelsFolder).toBeNull();
  await page.getByRole('button', { name: 'Add a folder' }).click();
  await expect.poll(async () => (await client.api.app.settings.get()).comfyuiFolders).toEqual([models]);
});
