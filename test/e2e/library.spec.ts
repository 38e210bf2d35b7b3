import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { makeLora } from '../library/make-loras.ts';
import { connect, type AppClient } from './client.ts';
import { createLoras } from './create-loras.ts';
import { drop, example, transferOf, type GivenFile } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { LANGUAGES, look, resetLook, setLook, THEMES } from './look.ts';
import type { RunningApp } from './running-app.ts';

const LORAS = [
  ['Autumn hills', ['hills.jpg', 'town.jpg']],
  ['Sea at dusk', ['sea.jpg']],
  ['Old town', ['town.jpg', 'sea.jpg', 'hills.jpg']],
  ['Misty valley', ['hills.jpg']],
  ['Harbour lights', ['sea.jpg', 'town.jpg']],
] as const;

let client: AppClient;

test.beforeAll(async ({ app }) => {
  if (!app) return;
  test.setTimeout(120_000);
  client = await connect(app);
  await createLoras(client, LORAS);
});
test.afterAll(() => client?.close());

/** Selects have options, too. */
const options = (page: Page) => page.getByRole('listbox', { name: 'LoRAs' }).getByRole('option');

async function open(page: Page): Promise<void> {
  await page.evaluate(() => void (location.hash = '#/library'));
  await expect(options(page)).not.toHaveCount(0);
}

const option = (page: Page, name: string) => options(page).and(page.getByRole('option', { name, exact: true }));

test('the rank is slid, what it keeps is seen at once, and a version is saved', async ({ studio }) => {
  await open(studio);
  await option(studio, 'Old town').click();
  const slider = studio.getByRole('slider', { name: 'Rank of the new version' });
  await expect(slider).toHaveValue(/\d+/, { timeout: 30_000 });
  await expect(studio.getByRole('button', { name: 'Save as new version' })).toBeDisabled();
  const before = await studio.getByRole('complementary', { name: 'Details' }).locator('dl').first().innerText();
  expect(before).toContain('100%');
  await slider.focus();
  for (let i = 0; i < 5; i++) await studio.keyboard.press('ArrowLeft');
  const after = await studio.getByRole('complementary', { name: 'Details' }).locator('dl').first().innerText();
  expect(after).not.toBe(before);
  await studio.getByRole('button', { name: '90%', exact: true }).click();
  await expect(studio.getByRole('button', { name: '90%', exact: true })).toHaveAttribute('aria-pressed', 'true');
  await studio.getByRole('button', { name: 'Save as new version' }).click();
  await expect(studio.getByText(/^In the queue: Old town/)).toBeVisible();
  const versions = studio.getByRole('complementary', { name: 'Details' }).getByRole('link', { name: /^Old town-r\d+$/ });
  await expect(versions).toBeVisible({ timeout: 30_000 });
  await versions.click();
  await expect(studio.getByRole('textbox', { name: 'Name' })).toHaveValue(/^Old town-r\d+$/);
});

test('while the slider is dragged every step fits into a frame', async ({ studio }, testInfo) => {
  await open(studio);
  await option(studio, 'Old town').click();
  const slider = studio.getByRole('slider', { name: 'Rank of the new version' });
  await expect(slider).toBeVisible({ timeout: 30_000 });
  const devtools = await studio.context().newCDPSession(studio);
  // Of the page's own thread: what else this machine does is not counted.
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busy = async (): Promise<number> => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    return 1000 * (metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0);
  };
  const before = await busy();
  const steps = 120;
  const times = await slider.evaluate(async (input: HTMLInputElement, count) => {
    const taken: number[] = [];
    for (let i = 0; i < count; i++) {
      const started = performance.now();
      input.value = String(Math.round(((Math.sin(i / 6) + 1) / 2) * Number(input.max)));
      input.dispatchEvent(new Event('input', { bubbles: true }));
      // Svelte writes to the page in a microtask; asking for the layout makes the browser do its part.
      await Promise.resolve();
      void document.body.offsetHeight;
      taken.push(performance.now() - started);
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    return taken.sort((a, b) => a - b);
  }, steps);
  const cost = ((await busy()) - before) / steps;
  const [median = 0, longest = 0] = [steps / 2, steps - 1].map((at) => times[at]);
  const said = `${cost.toFixed(1)} ms of the page's thread a step; by the clock median ${median.toFixed(1)} ms, longest ${longest.toFixed(1)} ms`;
  testInfo.annotations.push({ type: 'slider', description: said });
  console.log(`slider: ${said}`);
  expect(cost).toBeLessThan(16);
});

test('searching, tagging many, exporting to ComfyUI, deleting and taking it back', async ({ studio, app }) => {
  const comfyui = join(app.home, 'ComfyUI');
  mkdirSync(join(comfyui, 'models', 'loras'), { recursive: true });
  mkdirSync(join(comfyui, 'comfy'), { recursive: true });
  for (const name of ['main.py', 'folder_paths.py', 'nodes.py']) writeFileSync(join(comfyui, name), '');
  await client.choose([comfyui]);
  await client.api.app.settings.set({ comfyuiFolders: [comfyui] });
  await open(studio);

  await studio.keyboard.press('/');
  await studio.keyboard.type('harb');
  await expect(options(studio)).toHaveCount(1);
  await studio.getByRole('searchbox').fill('');
  await expect(option(studio, 'Sea at dusk')).toBeVisible();

  await option(studio, 'Sea at dusk').click();
  await option(studio, 'Harbour lights').click({ modifiers: ['ControlOrMeta'] });
  await studio.getByRole('button', { name: 'Tag', exact: true }).click();
  await studio.getByLabel('Add tag').last().fill('water');
  await studio.getByRole('button', { name: 'Apply' }).click();
  await studio.getByRole('button', { name: /^water/ }).click();
  await expect(options(studio)).toHaveCount(2);

  await studio.getByRole('toolbar').getByRole('button', { name: 'Export' }).click();
  await expect(studio.getByRole('combobox', { name: 'ComfyUI' })).toHaveValue(comfyui);
  await studio.getByRole('dialog').getByRole('button', { name: 'Export' }).click();
  await expect(studio.getByText('In the queue: 2 LoRAs → ComfyUI')).toBeVisible();
  const lorasFolder = join(comfyui, 'models', 'loras', 'i2L');
  await expect
    .poll(() =>
      existsSync(lorasFolder)
        ? readdirSync(lorasFolder)
            .filter((name) => name.endsWith('.safetensors'))
            .sort()
        : [],
    )
    .toEqual(['Harbour lights.safetensors', 'Sea at dusk.safetensors']);
  await expect(studio.getByRole('complementary', { name: 'Details' }).getByText('Present')).toBeVisible();

  await studio.getByRole('listbox').focus();
  await studio.keyboard.press('Delete');
  await expect(studio.getByText('2 LoRAs moved to the trash')).toBeVisible();
  await expect(studio.getByText('Nothing found')).toBeVisible();
  await studio.getByRole('button', { name: 'Undo' }).click();
  await expect(options(studio)).toHaveCount(2);
  await studio.getByRole('button', { name: 'Clear filters' }).click();
});

/** A LoRA of one small module, and what is none. */
function loraToDrop({ home }: RunningApp, name: string, seed: number): GivenFile {
  return { name: `${name}.safetensors`, bytes: readFileSync(makeLora(join(home, `to-drop-${seed}.safetensors`), seed).file) };
}

test('LoRA files are dropped: each comes in once, and what is none is told by its name', async ({ studio, app, problems }) => {
  await open(studio);
  const [one, other] = [loraToDrop(app, 'Dropped one', 1), loraToDrop(app, 'Dropped other', 2)];
  const dataTransfer = await transferOf(studio, [one]);
  await studio.locator('main').dispatchEvent('dragover', { dataTransfer });
  await expect(studio.getByText('Drop to import LoRAs')).toBeVisible();
  await drop(studio, [
    one,
    other,
    { name: 'photo.jpg', bytes: Buffer.from('x') },
    { name: 'no.safetensors', bytes: Buffer.from('x') },
  ]);
  await expect(studio.getByText('Drop to import LoRAs')).toBeHidden();
  const refused = studio.getByRole('alert');
  await expect(refused).toContainText('2 files could not be added');
  await expect(refused).toContainText('photo.jpg: this is no LoRA');
  await expect(refused).toContainText('no.safetensors: this is not a usable safetensors file');
  await expect(refused).not.toContainText(app.home);
  await look(studio, 'library-refused-light-en');
  await refused.getByRole('button', { name: 'Dismiss' }).click();
  // The browser logs the refusals.
  problems.length = 0;
  await expect(option(studio, 'Dropped one')).toBeVisible();
  await expect(option(studio, 'Dropped other')).toBeVisible();

  await drop(studio, [one]);
  await expect(studio.getByText('0 imported, 1 known already')).toBeVisible();
  await studio.getByRole('button', { name: 'Dismiss' }).click();
  await removeNamed('Dropped one', 'Dropped other');
});

test('a browser’s own dialog chooses LoRA files of the machine that it is on', async ({ studio, served }) => {
  await open(studio);
  const { file } = makeLora(join(served.home, 'Chosen.safetensors'), 3);
  await studio.getByRole('button', { name: 'Import files' }).click();
  await studio.getByLabel('Choose files …').last().setInputFiles(file);
  await expect(studio.getByRole('dialog')).toHaveCount(0);
  await expect(studio.getByText('1 LoRA imported')).toBeVisible();
  await studio.getByRole('button', { name: 'Dismiss' }).click();
  await expect(option(studio, 'Chosen')).toBeVisible();
  await removeNamed('Chosen');
});

test('a picture is chosen of its images, dropped, and taken away', async ({ studio }) => {
  await open(studio);
  await option(studio, 'Harbour lights').click();
  const { loras } = await client.api.loras.list({ text: 'Harbour lights' });
  const [{ id, preview: before } = { id: 0, preview: null }] = loras;
  const preview = async (): Promise<string | null> => (await client.api.loras.get({ id })).preview;
  const images = (await client.api.loras.get({ id })).madeFrom?.images.map(({ hash }) => hash) ?? [];
  const choose = studio.getByRole('button', { name: 'Choose the picture' });
  const dialog = studio.getByRole('dialog', { name: 'Picture of this LoRA' });

  await expect(studio.getByRole('slider', { name: 'Rank of the new version' })).toBeVisible({ timeout: 30_000 });
  await choose.click();
  await expect(dialog.getByRole('button', { name: 'Image 1 of 2' })).toHaveAttribute('aria-pressed', String(images[0] === before));
  await look(studio, 'library-picture-light-en');
  await dialog.getByRole('button', { name: 'Image 2 of 2' }).click();
  await expect(dialog).toHaveCount(0);
  expect(await preview()).toBe(images[1]);

  await choose.click();
  await drop(studio, [example('hills.jpg')]);
  await expect(dialog).toHaveCount(0);
  expect(images).not.toContain(await preview());

  await choose.click();
  await dialog.getByRole('button', { name: 'Remove the picture' }).click();
  await expect(dialog).toHaveCount(0);
  expect(await preview()).toBeNull();
  await expect(option(studio, 'Harbour lights').locator('img')).toHaveCount(0);
  await client.api.loras.update({ id, change: { preview: before } });
});

test('a LoRA that is dragged out of the browser is downloaded, by its number', async ({ studio, served }) => {
  await open(studio);
  const card = option(studio, 'Sea at dusk');
  await expect(card).toHaveAttribute('draggable', 'true');
  const dataTransfer = await studio.evaluateHandle(() => new DataTransfer());
  await card.dispatchEvent('dragstart', { dataTransfer });
  const told = await dataTransfer.evaluate((data) => data.getData('DownloadURL'));
  const [, name = '', address = ''] = /^application\/octet-stream:([^:]+):(.+)$/.exec(told) ?? [];
  expect([name, new URL(address).origin]).toEqual(['Sea at dusk.safetensors', served.url]);
  const answer = await studio.request.get(address);
  const file = join(served.home, 'loras', name);
  expect([answer.status(), (await answer.body()).equals(readFileSync(file))]).toEqual([200, true]);
});

test('a card that is let go inside the window is not imported; files from outside are afterwards', async ({ studio, app }) => {
  await open(studio);
  const uploads: string[] = [];
  studio.on('request', (request) => {
    if (request.url().includes('/uploads/')) uploads.push(request.url());
  });
  const file = loraToDrop(app, 'From outside', 4);
  const dataTransfer = await transferOf(studio, [file]);
  await option(studio, 'Sea at dusk').dispatchEvent('dragstart', { dataTransfer });
  await studio.locator('main').dispatchEvent('dragover', { dataTransfer });
  await expect(studio.getByText('Drop to import LoRAs')).toBeHidden();
  await studio.locator('main').dispatchEvent('drop', { dataTransfer });
  // Of a drag that the system carried outside the page hears no end.
  await option(studio, 'Sea at dusk').dispatchEvent('dragstart', { dataTransfer });
  await option(studio, 'Old town').hover();
  await option(studio, 'Sea at dusk').hover();
  expect(uploads).toEqual([]);
  await drop(studio, [file]);
  await expect(option(studio, 'From outside')).toBeVisible();
  expect(uploads).toHaveLength(1);
  await studio.getByRole('button', { name: 'Dismiss' }).click();
  await removeNamed('From outside');
});

test('a picture that is still on its way when its dialog is closed is stopped without a word', async ({ studio }) => {
  await open(studio);
  await option(studio, 'Harbour lights').click();
  await studio.route('**/uploads/loras/*/preview*', () => undefined);
  const dialog = studio.getByRole('dialog', { name: 'Picture of this LoRA' });
  await studio.getByRole('button', { name: 'Choose the picture' }).click();
  await expect(dialog.getByRole('listitem').locator('img').first()).toHaveAttribute('draggable', 'false');
  const stopped = studio.waitForEvent('requestfailed');
  await drop(studio, [example('hills.jpg')]);
  await expect(dialog.getByRole('progressbar')).toBeVisible();
  await studio.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
  expect((await stopped).url()).toContain('/preview');
  await expect(studio.getByText('It was stopped.')).toHaveCount(0);
  await studio.unrouteAll();
});

/** So that the pictures show the LoRAs that were made alone. */
async function removeNamed(...names: readonly string[]): Promise<void> {
  const { loras } = await client.api.loras.list({ limit: 500 });
  await client.api.loras.remove({ ids: loras.filter(({ name }) => names.includes(name)).map(({ id }) => id) });
  await client.api.library.emptyTrash({});
}

test('two are merged and compared', async ({ studio }) => {
  await open(studio);
  await option(studio, 'Misty valley').click();
  await option(studio, 'Sea at dusk').click({ modifiers: ['ControlOrMeta'] });
  await studio.getByRole('button', { name: 'Merge' }).click();
  await studio.getByRole('slider', { name: 'Strength of Misty valley' }).fill('0.5');
  await studio.getByRole('dialog').getByLabel('Name').fill('Valley by the sea');
  const rank = studio.getByRole('dialog').getByLabel('Reduce to rank');
  await rank.fill('-3');
  await studio.getByRole('dialog').getByRole('button', { name: 'Merge' }).click();
  await expect(rank, 'the browser says what a rank is').toBeFocused();
  await rank.fill('');
  await studio.getByRole('dialog').getByRole('button', { name: 'Merge' }).click();
  await expect(option(studio, 'Valley by the sea')).toBeVisible({ timeout: 30_000 });
  await studio.getByRole('button', { name: 'Compare' }).click();
  await expect(studio.getByRole('cell', { name: /transformer_blocks\.\d+/ }).first()).toBeVisible({ timeout: 30_000 });
  await studio.keyboard.press('Escape');
  await expect(studio.getByRole('dialog')).toHaveCount(0);
  await expect(studio.getByText('2 selected'), 'Escape closed the dialog alone').toBeVisible();
});

test('everything by keyboard: move, open, select, close', async ({ studio }) => {
  await open(studio);
  await studio.getByRole('listbox').focus();
  await studio.keyboard.press('Home');
  await studio.keyboard.press('ArrowRight');
  await studio.keyboard.press('Enter');
  const name = studio.getByRole('textbox', { name: 'Name' });
  await expect(name).toBeVisible();
  await expect(options(studio).and(studio.getByRole('option', { selected: true }))).toHaveCount(1);
  await studio.keyboard.press('Shift+ArrowRight');
  await expect(options(studio).and(studio.getByRole('option', { selected: true }))).toHaveCount(2);
  await studio.keyboard.press('Escape');
  await studio.keyboard.press('Escape');
  await expect(name).toHaveCount(0);
});

test('axe finds nothing, in both themes and languages, wide and narrow; screenshots', async ({ studio }) => {
  test.setTimeout(240_000);
  await open(studio);
  const { loras } = await client.api.loras.list({ text: 'Old town', sort: 'name', order: 'ascending' });
  const [id = 0] = loras.map((lora) => lora.id);
  for (const language of LANGUAGES) {
    for (const theme of THEMES) {
      await setLook(client, studio, theme, language);
      for (const [width, height] of [
        [1400, 900],
        [820, 760],
      ] as const) {
        // prettier-ignore
        await studio.setViewportSize({ width, height });
        for (const route of ['#/library', `#/library/${id}`]) {
          await studio.evaluate((hash) => void (location.hash = hash), route);
          if (route !== '#/library') {
            await studio.getByRole('group', { name: /Presets|预设/ }).getByRole('button', { name: '95%' }).click({ timeout: 20_000 }); // prettier-ignore
          }
          const part = route === '#/library' ? 'library' : 'library-detail';
          await look(studio, `${part}-${width}-${theme}-${language}`);
        }
      }
    }
  }
  await resetLook(client);
});
