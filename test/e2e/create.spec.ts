import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJobSchema } from '../../main/contract/job.ts';
import { connect, type AppClient } from './client.ts';
import { drop, example, examplePath, EXAMPLES, imageNames, images, jobNamed, newSet } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { look, resetLook, setLook } from './look.ts';

let client: AppClient;
test.beforeAll(async ({ app }) => {
  if (app) client = await connect(app);
});
test.afterAll(() => client?.close());

test('the first images are dropped, weighed and put in order; the LoRA is made of just that', async ({ studio, app, problems }) => {
  await expect(studio.getByRole('button', { name: 'Create LoRA' })).toBeDisabled();
  await drop(studio, [...EXAMPLES.map(example), { name: 'broken.jpg', bytes: Buffer.from('no image') }]);
  await expect(images(studio)).toHaveCount(3);
  await expect(studio.getByRole('alert')).toContainText('broken.jpg');
  await expect(studio.getByRole('alert')).not.toContainText(app.home);
  await studio.getByRole('button', { name: 'Dismiss' }).click();
  // The browser logs the refusal.
  problems.length = 0;
  await drop(studio, [example('sea.jpg')]);
  await expect(studio.getByText('1 image was in the set already')).toBeVisible();

  const [first = ''] = await imageNames(studio);
  await images(studio).first().click();
  await studio.keyboard.press('Alt+End');
  await expect.poll(async () => (await imageNames(studio)).at(-1)).toBe(first);
  await images(studio).last().click();
  await studio.getByLabel('Weight').fill('2.5');
  await expect(images(studio).last()).toContainText('× 2.5');
  await images(studio).first().click();
  await studio.getByLabel('Weight').fill('0');
  await expect(images(studio).first()).toContainText('left out');
  await studio.reload();
  await expect(images(studio).first(), 'all of it is kept').toContainText('left out');

  const estimate = studio.getByRole('region', { name: 'Estimate' });
  await expect(estimate).toContainText('8');
  await studio.getByLabel('Name of the LoRA').fill('Dropped');
  await studio.getByRole('button', { name: 'Create LoRA' }).click();
  await studio.getByRole('button', { name: 'Open queue' }).click();
  const job = jobNamed(studio, 'Dropped');
  await expect(job.getByText('Done', { exact: true })).toBeVisible({ timeout: 60_000 });
  expect(existsSync(join(app.home, 'loras', 'Dropped.safetensors'))).toBe(true);
  const [made] = await client.api.jobs.list({});
  const { input } = await client.api.jobs.get({ id: made?.id ?? 0 });
  expect(createJobSchema.parse(input).sets[0]?.images.map(({ weight }) => weight)).toEqual([1, 2.5]);
});

test('an expert whose models are not here says what it needs and can’t be turned on', async ({ studio }) => {
  await newSet(studio);
  await expect(studio.getByText(/Needs models of .*GB/).first()).toBeVisible();
  await expect(studio.getByRole('checkbox', { name: /^Coarse/ })).toBeDisabled();
  await studio.getByRole('checkbox', { name: /^Style/ }).uncheck();
  await studio.getByRole('checkbox', { name: /^Style/ }).check();
  await expect(studio.getByText('A chosen set has no image yet.')).toBeVisible();
});

test('images that look alike are marked, and one of each can be kept', async ({ studio }) => {
  const id = await newSet(studio);
  await drop(studio, EXAMPLES.map(example));
  await expect(images(studio)).toHaveCount(3);
  // The same picture in another file: bytes after the end of a JPEG are no part of it.
  await drop(studio, [{ name: 'again.jpg', bytes: Buffer.concat([example('sea.jpg').bytes, Buffer.from('copy')]) }]);
  await studio.getByRole('button', { name: 'Keep one of each' }).click();
  await expect(images(studio).filter({ hasText: 'left out' })).toHaveCount(1);
  await expect(studio.getByRole('button', { name: 'Keep one of each' })).toHaveCount(0);
  await images(studio).first().click();
  await studio.keyboard.press('Delete');
  await expect(images(studio)).toHaveCount(3);
  await studio.getByRole('button', { name: 'Undo' }).click();
  await expect(images(studio)).toHaveCount(4);
  expect((await client.api.sets.get({ id })).images.map(({ weight }) => weight).sort()).toEqual([0, 1, 1, 1]);
  expect(await imageNames(studio), 'at its place and by its name').toEqual([...EXAMPLES, 'again.jpg']);
  await images(studio).first().click();
  await studio.keyboard.press('Enter');
  const crop = studio.getByRole('dialog').getByRole('img');
  await expect.poll(() => crop.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
  expect(await crop.evaluate((image: HTMLImageElement) => image.naturalWidth / image.naturalHeight)).toBe(1);
  await studio.keyboard.press('Escape');
});

test('images arrive in the order in which they were chosen, and nothing is made before all are there', async ({ studio }) => {
  const id = await newSet(studio);
  const names = Array.from({ length: 12 }, (_, i) => `${String(i).padStart(2, '0')}.jpg`);
  const held = Promise.withResolvers<undefined>();
  // The first is the last to arrive.
  await studio.route(/\/uploads\/sets\/.*name=00/, async (route) => {
    await held.promise;
    await route.continue();
  });
  await studio.getByLabel('Add images').last().setInputFiles(
    names.map((name) => ({ name, mimeType: 'image/jpeg', buffer: Buffer.concat([example('sea.jpg').bytes, Buffer.from(name)]) })),
  ); // prettier-ignore
  await expect(studio.getByText('Adding 11 of 12')).toBeVisible();
  await expect(studio.getByText('Images are still being added.')).toBeVisible();
  await expect(studio.getByRole('button', { name: 'Create LoRA' })).toBeDisabled();
  held.resolve(undefined);
  await expect(images(studio)).toHaveCount(12);
  await expect(studio.getByRole('button', { name: 'Create LoRA' })).toBeEnabled();
  await expect.poll(() => imageNames(studio)).toEqual(names);
  expect((await client.api.sets.get({ id })).images.map(({ source }) => source.split(/[\\/]/).at(-1))).toEqual(names);
});

/** Images that no machine reads in the time that a click takes. */
const MANY = 3000;

test('a folder that is being read is let go of when the dialog is closed', async ({ studio }) => {
  const folder = mkdtempSync(join(tmpdir(), 'i2l-long-'));
  for (let i = 0; i < MANY; i++)
    writeFileSync(join(folder, `${i}.jpg`), Buffer.concat([example('sea.jpg').bytes, Buffer.from(String(i))]));
  await client.choose([folder]);
  const before = (await client.api.sets.list({})).total;
  await studio.getByRole('button', { name: 'Import a folder' }).click();
  const dialog = studio.getByRole('dialog');
  await dialog.getByRole('textbox').fill(folder);
  await dialog.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(dialog.getByText(/^Reading \d/)).toBeVisible();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  const read = async (): Promise<number> =>
    (await client.api.sets.list({})).sets.find((set) => set.folder === folder)?.imageCount ?? 0;
  await expect.poll(async () => { const one = await read(); await studio.waitForTimeout(500); return one === (await read()); }).toBe(true); // prettier-ignore
  expect(await read()).toBeLessThan(MANY);
  expect((await client.api.sets.list({})).total).toBeLessThanOrEqual(before + 1);
  await expect(studio.getByRole('region', { name: 'Messages' }).getByRole('alert')).toHaveCount(0);
  rmSync(folder, { recursive: true });
});

test('of folders that make no set the dialog says why, image by image, and has nothing to cancel any more', async ({
  studio,
  app,
}) => {
  const folder = join(app.home, 'mixed');
  for (const name of ['good', 'bad']) mkdirSync(join(folder, name), { recursive: true });
  copyFileSync(examplePath('sea.jpg'), join(folder, 'good', 'sea.jpg'));
  writeFileSync(join(folder, 'bad', 'text.png'), 'no image');
  await client.choose([folder]);
  await studio.getByRole('button', { name: 'Import a folder' }).click();
  const dialog = studio.getByRole('dialog');
  await dialog.getByRole('textbox').fill(folder);
  await dialog.getByRole('checkbox').check();
  await dialog.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(dialog.getByRole('alert')).toContainText(join(folder, 'bad'));
  await expect(dialog.getByRole('button', { name: 'Copy details' })).toBeVisible();
  await dialog.getByText('Close', { exact: true }).click();
  await expect(dialog).toHaveCount(0);
  await studio.getByRole('checkbox', { name: 'Include good in the batch' }).uncheck();
});

test('a folder of folders is a batch: a LoRA of each, in one pass, and the library has them', async ({ studio, app }) => {
  const folder = join(app.home, 'batch');
  const names = ['Dawn', 'Noon', 'Dusk'];
  for (const [i, name] of names.entries()) {
    mkdirSync(join(folder, name), { recursive: true });
    copyFileSync(examplePath(EXAMPLES[i] ?? ''), join(folder, name, 'one.jpg'));
  }
  await studio.getByRole('button', { name: 'Import a folder' }).click();
  if (app.kind === 'desktop') {
    await app.dialogsGive([folder]);
    await studio.getByRole('button', { name: 'Choose …' }).click();
  } else await studio.getByLabel('Folder', { exact: true }).fill(folder);
  await studio.getByLabel('Each folder inside is a set of its own').check();
  await studio.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(studio.getByRole('checkbox', { name: 'Include Dusk in the batch' })).toBeChecked();
  await studio.getByRole('button', { name: 'Create 3 LoRAs in one pass' }).click();
  await studio.getByRole('button', { name: 'Open queue' }).click();
  const job = jobNamed(studio, 'Dawn');
  await expect(job).toContainText('Noon');
  await expect(job.getByText('Done', { exact: true })).toBeVisible({ timeout: 60_000 });
  for (const name of names) expect(existsSync(join(app.home, 'loras', `${name}.safetensors`)), name).toBe(true);
  const { loras } = await client.api.loras.list({});
  expect(loras.map(({ name, rank }) => [name, rank.max])).toEqual(expect.arrayContaining(names.map((name) => [name, 4])));
});

test('a set is renamed, deleted and brought back', async ({ studio }) => {
  await newSet(studio);
  await studio.getByRole('button', { name: 'Actions for New set' }).first().click();
  await studio.getByRole('menuitem', { name: 'Rename' }).click();
  await studio.getByRole('textbox', { name: 'Rename' }).fill('Old harbour');
  await studio.keyboard.press('Enter');
  const link = studio.getByRole('link', { name: /Old harbour/ });
  await expect(link).toBeVisible();
  await studio.getByLabel('Search image sets').fill('harb');
  await expect(studio.getByRole('checkbox', { name: /Include/ })).toHaveCount(1);
  await studio.getByRole('button', { name: 'Actions for Old harbour' }).click();
  await studio.getByRole('menuitem', { name: 'Delete' }).click();
  await expect(link).toHaveCount(0);
  await studio.getByRole('button', { name: 'Undo' }).click();
  await expect(link).toBeVisible();
});

test('a deleted set that is come back to, or that another window has deleted, says so and can be restored', async ({ studio }) => {
  const id = await newSet(studio);
  await drop(studio, [example('sea.jpg')]);
  await expect(images(studio)).toHaveCount(1);
  const create = studio.getByRole('button', { name: 'Create LoRA' });
  await expect(create).toBeEnabled();
  await client.api.sets.remove({ ids: [id] });
  await studio.reload();
  await expect(studio.getByText('This image set was deleted.')).toBeVisible();
  await expect(create).toBeDisabled();
  await expect(create).toHaveAccessibleDescription('The image set is deleted; restore it first.');
  await studio.getByRole('button', { name: 'Restore' }).click();
  await expect(create).toBeEnabled();
  await expect(studio.getByText('This image set was deleted.')).toHaveCount(0);
  await expect(studio.getByRole('region', { name: 'Image sets' }).locator('[aria-current=true]')).toBeVisible();
});

test('a set is duplicated with the order, the weights and the captions of its images; undone, the copy is gone', async ({
  studio,
}) => {
  const id = await newSet(studio);
  await drop(studio, EXAMPLES.map(example));
  await expect(images(studio)).toHaveCount(3);
  const before = await client.api.sets.get({ id });
  const hashes = before.images.map(({ hash }) => hash).reverse();
  await client.api.sets.reorder({ id, hashes });
  await client.api.sets.setImage({ id, hash: hashes[1] ?? '', change: { weight: 2.5, caption: 'a heron' } });
  await client.api.sets.update({ id, change: { name: 'Herons' } });
  await studio.reload();
  await studio.getByRole('button', { name: 'Actions for Herons' }).click();
  await studio.getByRole('menuitem', { name: 'Duplicate' }).click();
  await expect(studio.getByRole('heading', { name: 'Herons copy' })).toBeVisible();
  await expect(images(studio)).toHaveCount(3);
  await expect(images(studio).nth(1)).toContainText('× 2.5');
  const copy = Number(/\d+$/.exec(studio.url())?.[0]);
  expect(copy).not.toBe(id);
  expect((await client.api.sets.get({ id: copy })).images).toEqual((await client.api.sets.get({ id })).images);
  await studio.getByRole('button', { name: 'Undo' }).click();
  await expect(studio.getByRole('heading', { name: 'Herons', exact: true })).toBeVisible();
  expect((await client.api.sets.get({ id: copy })).trashedAt).not.toBeNull();
});

test('axe finds nothing, wide and narrow, in both themes and languages; nothing lies under the button', async ({ studio }) => {
  test.setTimeout(120_000);
  await newSet(studio);
  await drop(studio, EXAMPLES.map(example));
  await expect(images(studio)).toHaveCount(3);
  await images(studio).first().click();
  await expect(studio.getByRole('region', { name: 'Estimate' })).toContainText('Rank');
  for (const language of ['en', 'zh-CN'] as const) {
    for (const [theme, width] of [
      ['dark', 1400],
      ['light', 820],
    ] as const) {
      await setLook(client, studio, theme, language);
      await studio.setViewportSize({ width, height: 820 });
      await look(studio, `create-set-${theme}-${language}`);
      const facts = (await studio.locator('.end dl').boundingBox())!;
      const button = (await studio.locator('.end button.primary').boundingBox())!;
      expect(facts.y + facts.height).toBeLessThanOrEqual(button.y);
    }
  }
  await resetLook(client);
});
