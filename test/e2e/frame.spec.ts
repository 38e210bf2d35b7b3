import { expect, test } from './fixture.ts';
import { open } from './create-screen.ts';

/** What holds on every screen. */

test('an address that was cut off or made up shows its screen', async ({ studio }) => {
  for (const route of ['library/%', 'library/%E4%BD', 'library/..', 'library/abc']) {
    await open(studio, route);
    await studio.reload();
    await expect(studio.getByRole('heading', { level: 1 }), route).toHaveText('Library');
  }
});

test('while a dialog is open, keys neither change the screen behind it nor open another over it', async ({ studio }) => {
  await open(studio, 'create');
  await studio.getByRole('button', { name: 'Import a folder' }).click();
  const dialogs = studio.getByRole('dialog');
  await dialogs.getByRole('checkbox').focus();
  await studio.keyboard.press('?');
  await studio.keyboard.press('Control+3');
  await studio.keyboard.press('Tab');
  await expect(dialogs).toHaveCount(1);
  await expect(studio).toHaveTitle(/^Create/);
  await studio.keyboard.press('Escape');
  await expect(dialogs).toHaveCount(0);
  await studio.keyboard.press('Control+3');
  await expect(studio).toHaveTitle(/^Queue/);
});

test('no screen makes the page itself longer than its window', async ({ studio }) => {
  for (const screen of ['create', 'library', 'queue', 'models', 'settings']) {
    await open(studio, screen);
    await expect(studio.getByRole('main').getByRole('button').first()).toBeVisible();
    const { content, window } = await studio.evaluate(() => ({
      content: document.documentElement.scrollHeight,
      window: innerHeight,
    }));
    expect(content, screen).toBe(window);
  }
});

test('texts are copied also where the browser gives the page no clipboard: over http from another machine', async ({ studio }) => {
  await studio.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }));
  await open(studio, 'settings');
  await studio.evaluate(() => {
    document.addEventListener('copy', () => (document.title = String(getSelection())));
  });
  await studio.getByRole('button', { name: 'Copy diagnostics' }).click();
  await expect(studio.getByText('Diagnostics copied')).toBeVisible();
  await expect(studio).toHaveTitle(/i2L Studio 0/);
  await expect(studio.getByRole('button', { name: 'Copy diagnostics' })).toBeFocused();
});
