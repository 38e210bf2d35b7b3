import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium as playwright, type Page } from '@playwright/test';
import { chromium } from './chromium.ts';
import { startServer } from './running-app.ts';
import { fillLibrary } from '../bench/library.ts';

/** The window over a library of 10,000 LoRAs: from nothing to usable, a search, a jump. node test/e2e/library-window.bench.ts */

const REPEATS = 5;
const START_BAR_MS = 1500;

const home = mkdtempSync(join(tmpdir(), 'i2l-bench-window-'));
try {
  await fillLibrary(home);
  writeFileSync(join(home, 'settings.json'), JSON.stringify({ device: 'cpu', language: 'en' }));
  const empty = mkdtempSync(join(tmpdir(), 'i2l-bench-empty-'));
  const bare: number[] = [];
  const starts: number[] = [];
  const opens: number[] = [];
  for (let i = 0; i < REPEATS; i++) {
    bare.push(await timeServer(empty));
    const [start, opened] = await timeStart();
    starts.push(start);
    opens.push(opened);
  }
  rmSync(empty, { recursive: true, force: true });
  report('server process over an empty data folder, to compare', bare, START_BAR_MS);
  report('server process to LoRAs in sight', starts, START_BAR_MS);
  report('of that, from opening the page on', opens, START_BAR_MS);
  await timeUse();
} finally {
  rmSync(home, { recursive: true, force: true });
}

async function openPage(link: string): Promise<{ page: Page; ready: number; close: () => Promise<void> }> {
  const browser = await playwright.launch(chromium === undefined ? {} : { executablePath: chromium });
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const started = performance.now();
  await page.goto(link);
  await page.evaluate(() => void (location.hash = '#/library'));
  await page.locator('[role=option][aria-selected] img, [role=option][aria-selected] strong').first().waitFor();
  return { page, ready: performance.now() - started, close: () => browser.close() };
}

/** @returns milliseconds from the start of the server, without the browser's own; and those of the page alone */
async function timeStart(): Promise<[number, number]> {
  const started = performance.now();
  const app = await startServer(home);
  const served = performance.now() - started;
  const { ready, close } = await openPage(app.link);
  await close();
  await app.stop();
  return [served + ready, ready];
}

async function timeServer(folder: string): Promise<number> {
  const started = performance.now();
  const app = await startServer(folder);
  const served = performance.now() - started;
  await app.stop();
  return served;
}

async function timeUse(): Promise<void> {
  const app = await startServer(home);
  const { page, close } = await openPage(app.link);
  const searches: number[] = [];
  for (const text of ['4711', 'fox 123', '水墨 99', '502', '77']) {
    const started = performance.now();
    await page.getByRole('searchbox').fill(text);
    await page.waitForFunction(() => !document.querySelector('h1 + span')?.textContent?.startsWith('10,000'));
    searches.push(performance.now() - started);
    await page.getByRole('searchbox').fill('');
    await page.waitForFunction(() => document.querySelector('h1 + span')?.textContent?.startsWith('10,000'));
  }
  report('search as typed, its rest of 120 ms included', searches, 300);
  const jumps: number[] = [];
  for (const share of [0.5, 0.99, 0.1, 0.8, 0]) {
    const started = performance.now();
    await page.locator('[role=listbox]').evaluate((list, to) => (list.scrollTop = to * list.scrollHeight), share);
    await page.waitForFunction(
      () => document.querySelectorAll('.waiting').length === 0 && document.querySelectorAll('[role=option] strong').length > 0,
    );
    jumps.push(performance.now() - started);
  }
  report('a jump through the list', jumps, 300);
  const nodes = await page.evaluate(() => document.querySelectorAll('*').length);
  console.log(`elements in the page: ${nodes}`);
  await close();
  await app.stop();
}

function report(name: string, measured: readonly number[], bar: number): void {
  const sorted = measured.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1] ?? 0;
  console.log(
    `${name}: median ${median.toFixed(0)} ms, slowest ${(sorted.at(-1) ?? 0).toFixed(0)} ms, bar ${bar} ms: ${median <= bar ? 'pass' : 'MISSED'}`,
  );
}
