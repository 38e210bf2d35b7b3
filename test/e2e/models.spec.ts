import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { catalogueEntry } from '../../main/weights/catalogue.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { randomBytes } from '../models/downloads.ts';
import { HubServer } from '../models/hub-server.ts';
import { sparseModel } from '../models/sparse-models.ts';
import { chromium } from './chromium.ts';
import { connect, type AppClient } from './client.ts';
import { expect, load, pageFor, test, watch } from './fixture.ts';
import { LANGUAGES, look, setLook, THEMES } from './look.ts';
import { removeHome, type RunningApp } from './running-app.ts';

/** The Models screen on an empty machine, with hubs of our own. One story: each test goes on where the last one ended. */
const bias = catalogueEntry('qwen-image-i2l-bias');
const siglip = catalogueEntry('siglip2-g384');
const lora = makeLora(join(mkdtempSync(join(tmpdir(), 'i2l-e2e-lora-')), 'lora.safetensors'));
let hub: HubServer;
let app: RunningApp;
let client: AppClient;
let page: Page;
const problems: string[] = [];
/** Bytes behind this place are not given out. */
let heldFrom = Infinity;

test.describe.configure({ mode: 'serial' });
test.beforeAll(async ({ apps, browser }) => {
  test.skip(chromium === undefined, 'no Chromium');
  hub = await HubServer.start();
  hub.add(bias.hubs.huggingface, bias.file, lora);
  hub.add(siglip.hubs.huggingface, siglip.file, randomBytes(100_000, 2));
  hub.fault = ({ server, range }) => server === 'storage' && (range?.start ?? 0) >= heldFrom;
  const home = mkdtempSync(join(tmpdir(), 'i2l-e2e-'));
  const user = join(home, 'user');
  mkdirSync(user);
  writeFileSync(join(home, 'settings.json'), JSON.stringify({ device: 'cpu', language: 'en', theme: 'dark' }));
  const caches = { HOME: user, HF_HOME: join(user, 'hf'), MODELSCOPE_CACHE: join(user, 'ms'), XDG_CACHE_HOME: join(user, 'cache') };
  app = await apps.start(home, { ...caches, HF_ENDPOINT: hub.hubUrl, MODELSCOPE_ENDPOINT: hub.hubUrl, HF_TOKEN: 'hf_secret' });
  client = await connect(app);
  page = await pageFor(app, () => browser.newPage());
  await page.setViewportSize({ width: 1400, height: 900 });
  watch(page, problems);
});
test.afterAll(async () => {
  client?.close();
  await page?.close();
  await app?.stop();
  await hub?.stop();
  if (app) removeHome(app.home);
});
test.afterEach(() => expect(problems.splice(0), 'errors in the page').toEqual([]));

/** Several blocks, so that a download of it can be stopped in the middle. */
function makeLora(path: string): Buffer {
  const size = 20 * 2 ** 20;
  writeSafetensors(path, [{ name: 'x.lora_A.weight', dtype: 'F32', shape: [size / 4], bytes: randomBytes(size, 4) }]);
  return readFileSync(path);
}

const row = (title: string) => page.getByRole('region', { name: 'Model files' }).getByRole('listitem').filter({ hasText: title });
const target = (): string => join(app.home, 'models', bias.hubs.huggingface, bias.file);

test('the first start leads to the models, and asks no network', async () => {
  test.setTimeout(120_000);
  await load(app, page);
  await expect(page.getByRole('heading', { name: 'Welcome to i2L Studio' })).toBeVisible();
  await expect(page).toHaveTitle(/Models/);
  await expect(page.getByText(`0 of 8 models here`)).toBeVisible();
  await expect(row('SigLIP2-G384')).toContainText('For Qwen-Image Style, Qwen-Image Coarse, Qwen-Image Fine, Z-Image Style');
  for (const language of LANGUAGES) {
    for (const theme of THEMES) {
      await setLook(client, page, theme, language);
      await expect(page.getByRole('status', { name: /Loading|正在加载/ })).toHaveCount(0);
      await look(page, `models-first-${theme}-${language}`);
    }
  }
  await setLook(client, page, 'dark', 'en');
  expect(hub.asked).toEqual([]);
  expect(await page.locator('body').innerText()).not.toContain('hf_secret');
});

test('a licence is read and accepted before anything is asked', async () => {
  await page.getByRole('button', { name: 'Download all that Qwen-Image Style needs' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('link', { name: 'Read the licence' })).toHaveAttribute('href', /dinov3-license/);
  await expect(dialog.getByRole('button', { name: 'Start download' })).toBeDisabled();
  await look(page, 'models-licence-dark-en');
  await dialog.getByRole('checkbox').check();
  await expect(dialog.getByRole('button', { name: 'Start download' })).toBeEnabled();
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
  expect(hub.asked).toEqual([]);
});

test('a download shows its way, is paused, goes on after a reload, and is whole', async () => {
  heldFrom = 8 * 2 ** 20;
  await page.getByRole('button', { name: `Download ${bias.title}` }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Start download' }).click();
  await expect(row(bias.title).getByText('Downloading', { exact: true })).toBeVisible();
  await expect(row(bias.title).getByRole('progressbar')).toBeVisible();
  await expect(row(bias.title)).toContainText(/MB of 21 MB/);
  await look(page, 'models-download-dark-en');
  await row(bias.title)
    .getByRole('button', { name: `Pause: ${bias.title}` })
    .click();
  await expect(row(bias.title).getByText('Paused', { exact: true })).toBeVisible();
  await page.reload();
  await expect(row(bias.title).getByText('Paused', { exact: true })).toBeVisible();
  heldFrom = Infinity;
  await row(bias.title)
    .getByRole('button', { name: `Resume: ${bias.title}` })
    .click();
  await expect(row(bias.title).getByText('Ready', { exact: true })).toBeVisible({ timeout: 30_000 });
  await expect(row(bias.title)).toContainText(target());
  await expect(row(bias.title)).toContainText('downloaded by this app');
  expect(readFileSync(target()).equals(lora)).toBe(true);
});

test('a file that is not the model is refused with its reason', async () => {
  await page.getByRole('button', { name: `Download ${siglip.title}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Start download' }).click();
  await expect(row(siglip.title).getByText('Download failed', { exact: true })).toBeVisible({ timeout: 30_000 });
  await expect(row(siglip.title).getByRole('alert')).toBeVisible();
  expect(existsSync(join(app.home, 'models', siglip.hubs.huggingface, siglip.file))).toBe(false);
});

test('damage is found by a verification, and mended', async () => {
  const damaged = Buffer.from(lora);
  damaged.writeUInt8(damaged.readUInt8(9_000_000) ^ 1, 9_000_000);
  writeFileSync(target(), damaged);
  await row(bias.title)
    .getByRole('button', { name: `Actions for ${bias.title}` })
    .click();
  await page.getByRole('menuitem', { name: 'Verify' }).click();
  await expect(row(bias.title).getByText('Damaged', { exact: true })).toBeVisible({ timeout: 20_000 });
  await look(page, 'models-damaged-dark-en');
  await row(bias.title)
    .getByRole('button', { name: `Actions for ${bias.title}` })
    .click();
  await page.getByRole('menuitem', { name: 'Repair' }).click();
  await expect(row(bias.title).getByText('Ready', { exact: true })).toBeVisible({ timeout: 20_000 });
  expect(readFileSync(target()).equals(lora)).toBe(true);
});

test('what other programs have is used in place, and what nobody takes is named', async () => {
  const name = 'a-very-long-folder-name-as-they-are-made-by-people-who-sort-their-models'.repeat(2);
  const cached = sparseModel(
    join(app.home, 'user', 'hf', 'hub', `models--${name}`, 'snapshots', 'main', 'model.safetensors'),
    'dinov3-7b',
  );
  sparseModel(join(app.home, 'user', 'ms', 'models', 'z', 'one.safetensors'), 'z-image-i2l-style', 'F8_E4M3');
  sparseModel(join(app.home, 'user', 'ms', 'models', 'z', 'two.safetensors'), 'z-image-i2l-style', 'F8_E4M3');
  writeFileSync(join(app.home, 'user', 'ms', 'models', 'z', 'cut.safetensors'), lora.subarray(0, 1000));
  await page.getByRole('button', { name: 'Scan again' }).click();
  await expect(row('DINOv3-7B')).toContainText('Hugging Face cache, used in place');
  await expect(row('DINOv3-7B')).toContainText(cached);
  await expect(row('Z-Image Style expert')).toContainText('Values in F8_E4M3 instead of BF16');
  await expect(page.getByRole('region', { name: 'Found, but not used' })).toContainText('A second copy');
  await expect(page.getByRole('region', { name: 'Could not be read' })).toContainText('cut.safetensors');
  for (const [width, height] of [
    [820, 900],
    [1400, 1700],
  ] as const) {
    await page.setViewportSize({ width, height });
    const overflow = await page.locator('.scroll').evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);
    expect(overflow, `nothing is cut at ${width}`).toBe(0);
    await look(page, `models-${width}-dark-en`);
  }
  await setLook(client, page, 'light', 'zh-CN');
  await look(page, 'models-1400-light-zh-CN');
  await setLook(client, page, 'dark', 'en');
  await page.setViewportSize({ width: 1400, height: 900 });
});

test('only what this app downloaded can be deleted, after a question', async () => {
  await row('DINOv3-7B')
    .getByRole('button', { name: /Actions for/ })
    .click();
  await expect(page.getByRole('menuitem', { name: 'Delete files' })).toHaveCount(0);
  await page.keyboard.press('Escape');
  await row(bias.title)
    .getByRole('button', { name: `Actions for ${bias.title}` })
    .click();
  await page.getByRole('menuitem', { name: 'Delete files' }).click();
  for (const theme of ['light', 'dark'] as const) {
    await setLook(client, page, theme, 'en');
    await look(page, `models-delete-${theme}-en`);
  }
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  expect(existsSync(target())).toBe(true);
  await row(bias.title)
    .getByRole('button', { name: `Actions for ${bias.title}` })
    .click();
  await page.getByRole('menuitem', { name: 'Delete files' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete files' }).click();
  await expect(row(bias.title).getByText('Missing', { exact: true })).toBeVisible();
  expect(existsSync(target())).toBe(false);
});

test('a hub and its mirror are chosen, and a mirror that is none is told', async () => {
  await expect(page.getByLabel('Mirror')).toBeDisabled();
  await page.getByLabel('Hub', { exact: true }).selectOption('huggingface');
  await page.getByLabel('Mirror').fill('not an address');
  await page.getByLabel('Mirror').blur();
  await page.getByRole('button', { name: `Download ${bias.title}` }).click();
  await expect(page.getByRole('dialog')).toContainText('From not an address');
  await page.getByRole('dialog').getByRole('button', { name: 'Start download' }).click();
  await expect(page.getByRole('region', { name: 'Messages' })).toContainText('The address of the hub');
  await page.keyboard.press('Escape');
  await page.getByLabel('Hub', { exact: true }).selectOption('auto');
  await expect(page.getByLabel('Mirror')).toHaveValue('');
});
