import type { Page } from '@playwright/test';
import sharp from 'sharp';
import { connect } from './client.ts';
import { drop, example, examplePath, EXAMPLES, imageNames, images, newSet } from './create-screen.ts';
import { expect, test } from './fixture.ts';

/** Images come by the clipboard, and are put in order by mouse and by keyboard. */

/** Copies a photograph as an image viewer does: the pixels, without a file's name. The desktop app grants its page no clipboard. */
async function copyImage(page: Page, name: string): Promise<void> {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  const png = (await sharp(examplePath(name)).png().toBuffer()).toString('base64');
  await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': new Blob([bytes], { type: 'image/png' }) })]);
  }, png);
}

/** A new set with all examples. @returns their names in the order in which they are shown */
async function filledSet(page: Page): Promise<(string | null)[]> {
  await newSet(page);
  await drop(page, EXAMPLES.map(example));
  await expect(images(page)).toHaveCount(EXAMPLES.length);
  return imageNames(page);
}

test('an image is pasted from the clipboard: into a new set, then into the one that is open', async ({ served, show }) => {
  const studio = await show(served);
  await copyImage(studio, 'sea.jpg');
  await studio.locator('main').focus();
  await studio.keyboard.press('ControlOrMeta+v');
  await expect(images(studio)).toHaveCount(1);
  await expect(studio.getByRole('checkbox', { name: /^Include .* in the batch$/ })).toHaveCount(1);
  await copyImage(studio, 'town.jpg');
  await studio.keyboard.press('ControlOrMeta+v');
  await expect(images(studio)).toHaveCount(2);
  await studio.keyboard.press('ControlOrMeta+v');
  await expect(studio.getByText('1 image was in the set already')).toBeVisible();
  await expect(studio.getByRole('checkbox', { name: /^Include .* in the batch$/ }), 'the set that was open took them').toHaveCount(
    1,
  );
});

test('what is pasted into a text field is text, and no image comes of it', async ({ served, show }) => {
  const studio = await show(served);
  await newSet(studio);
  await copyImage(studio, 'sea.jpg');
  await studio.getByLabel('Name of the LoRA').focus();
  await studio.keyboard.press('ControlOrMeta+v');
  await studio.evaluate(() => navigator.clipboard.writeText('By the sea'));
  await studio.keyboard.press('ControlOrMeta+v');
  await expect(studio.getByLabel('Name of the LoRA')).toHaveValue('By the sea');
  await expect(images(studio)).toHaveCount(0);
});

test('images are dragged to another place by the mouse, and stay there', async ({ studio }) => {
  const [first, second, third] = await filledSet(studio);
  await images(studio).first().dragTo(images(studio).last());
  await expect.poll(() => imageNames(studio)).toEqual([second, third, first]);
  await images(studio).last().dragTo(images(studio).nth(1));
  await expect.poll(() => imageNames(studio)).toEqual([second, first, third]);
  await studio.reload();
  await expect.poll(() => imageNames(studio)).toEqual([second, first, third]);
});

test('images are moved by the keyboard and by buttons, and the keyboard stays with the one that moves', async ({ studio }) => {
  const [first, second, third] = await filledSet(studio);
  await images(studio).first().click();
  await studio.keyboard.press('Alt+ArrowRight');
  await expect.poll(() => imageNames(studio)).toEqual([second, first, third]);
  await studio.keyboard.press('Alt+ArrowRight');
  await expect.poll(() => imageNames(studio)).toEqual([second, third, first]);
  await studio.keyboard.press('Alt+Home');
  await expect.poll(() => imageNames(studio)).toEqual([first, second, third]);
  await studio.getByRole('button', { name: 'Move later' }).click();
  await expect.poll(() => imageNames(studio)).toEqual([second, first, third]);
  await studio.getByRole('button', { name: 'Move earlier' }).click();
  await expect.poll(() => imageNames(studio)).toEqual([first, second, third]);
  await studio.reload();
  await expect.poll(() => imageNames(studio)).toEqual([first, second, third]);
});

test('many image sets are shown a page at a time, and the rest as one comes to the end', async ({ studio, app }) => {
  const { api, close } = await connect(app);
  for (let i = 0; i < 60; i++) await api.sets.create({ name: `Set of many ${i}` });
  close();
  await studio.getByLabel('Search image sets').fill('of many');
  const boxes = studio.getByRole('checkbox', { name: /^Include Set of many/ });
  await expect(boxes).toHaveCount(50);
  await boxes.last().scrollIntoViewIfNeeded();
  await expect(boxes).toHaveCount(60);
});
