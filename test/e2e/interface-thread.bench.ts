import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium as playwright, type Page } from '@playwright/test';
import { makeDemoModels } from '../../main/pipelines/demo-models.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import { layoutOf } from '../../main/networks/network.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { fillLibrary } from '../bench/library.ts';
import { makeImages } from '../library/make-images.ts';
import { chromium } from './chromium.ts';
import { connect, type AppClient } from './client.ts';
import { removeHome, startServer, type RunningApp } from './running-app.ts';

/**
 * The interface's thread while a job computes on all cores, over a library of 10,000 LoRAs: which of its tasks
 * take longer than 50 ms. node test/e2e/interface-thread.bench.ts
 */
const BAR_MS = 50;
const IMAGES = 60;
/** Of each thing that is done. */
const SECONDS = 8;

interface LongTask {
  readonly duration: number;
}

const home = mkdtempSync(join(tmpdir(), 'i2l-bench-thread-'));
await fillLibrary(home);
writeFileSync(join(home, 'settings.json'), JSON.stringify({ device: 'cpu', language: 'en' }));
makeSlowModels(join(home, 'models'));
const app = await startServer(home);
const client = await connect(app);
try {
  const job = await startJob(app, client);
  const browser = await playwright.launch(chromium === undefined ? {} : { executablePath: chromium });
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  await page.goto(app.link);
  console.log(`load average ${loadavg()[0]?.toFixed(1)}`);
  await measure(page, 'the queue is watched', 'queue', () => page.waitForTimeout(SECONDS * 1000));
  await measure(page, 'the library is scrolled', 'library', () => scroll(page));
  await measure(page, 'the library is searched', 'library', () => search(page));
  await measure(page, 'screens are changed', 'create', () => changeScreens(page));
  const { state } = await client.api.jobs.get({ id: job });
  if (state !== 'running') throw new Error(`The job was ${state} before the end of the measurement.`);
  await client.api.jobs.cancel({ id: job });
  await browser.close();
} finally {
  client.close();
  await app.stop();
  removeHome(home);
}

/** The demo's, with an image encoder that takes about a second an image. */
function makeSlowModels(folder: string): void {
  makeDemoModels(folder, () => undefined);
  const slow = { layers: 40, width: 64, heads: 4, mlpWidth: 8192, patch: 16, imageSize: 384, epsilon: 1e-6 };
  writeSynthetic(join(folder, 'siglip2-g384', 'model.safetensors'), layoutOf(siglip2, slow), { seed: 1 });
}

async function startJob({ home: folder }: RunningApp, { api }: AppClient): Promise<number> {
  const files = await makeImages(join(folder, 'images'), IMAGES, 1, 400);
  mkdirSync(join(folder, 'made'));
  const sets = [{ output: join(folder, 'made', 'lora.safetensors'), images: files.map((file) => ({ file, weight: 1 })) }];
  const input = {
    ...{ kind: 'create', sets, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }], skipBad: false },
    ...{ dtype: 'bf16', keyForm: 'comfyui', memory: 2 ** 31, device: 'cpu', threads: 0 },
  };
  return (await api.jobs.enqueue({ kind: 'create', title: 'A job that takes long', input })).id;
}

/** Goes to a screen, does something there, and says what took the thread too long meanwhile. */
async function measure(page: Page, name: string, screen: string, work: () => Promise<void>): Promise<void> {
  await page.evaluate((hash) => void (location.hash = hash), `#/${screen}`);
  await page.waitForTimeout(1000);
  await page.evaluate(() => {
    const tasks: { duration: number }[] = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => ({ duration })))).observe({
      type: 'longtask',
    });
    Object.assign(window, { longTasks: tasks });
  });
  await work();
  const tasks = await page.evaluate(() => (window as unknown as { readonly longTasks: LongTask[] }).longTasks);
  const longest = Math.max(0, ...tasks.map(({ duration }) => duration));
  const said = tasks.length === 0 ? 'none' : `${tasks.length}, the longest ${longest.toFixed(0)} ms`;
  console.log(`tasks over ${BAR_MS} ms while ${name}: ${said}: ${tasks.length === 0 ? 'pass' : 'MISSED'}`);
}

/** As by a wheel that is turned evenly, a third of the window a step. */
async function scroll(page: Page): Promise<void> {
  await page.locator('[role=listbox]').hover();
  for (const until = Date.now() + SECONDS * 1000; Date.now() < until;) {
    await page.mouse.wheel(0, 300);
    await page.waitForTimeout(50);
  }
}

async function search(page: Page): Promise<void> {
  for (const text of ['fox', 'ink 12', '水墨', '']) {
    await page.getByRole('searchbox').pressSequentially(text, { delay: 60 });
    await page.waitForTimeout(1500);
    await page.getByRole('searchbox').fill('');
  }
}

async function changeScreens(page: Page): Promise<void> {
  for (const screen of ['library', 'queue', 'models', 'settings', 'create']) {
    await page.evaluate((hash) => void (location.hash = hash), `#/${screen}`);
    await page.waitForTimeout(1500);
  }
}
