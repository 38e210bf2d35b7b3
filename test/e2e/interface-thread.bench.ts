import { mkdtempSync, writeFileSync } from 'node:fs';
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
import { makeSet } from './create-loras.ts';
import { removeHome, startServer, type RunningApp } from './running-app.ts';

/**
 * The interface's thread while a job computes on all cores, over a library of 10,000 LoRAs: which of its tasks
 * take longer than 50 ms. node test/e2e/interface-thread.bench.ts
 */
const BAR_MS = 50;
const IMAGES = 60;
/** Of each thing that is done. */
const SECONDS = 6;

const home = mkdtempSync(join(tmpdir(), 'i2l-bench-thread-'));
await fillLibrary(home);
writeFileSync(join(home, 'settings.json'), JSON.stringify({ device: 'cpu', language: 'en' }));
makeSlowModels(join(home, 'models'));
const app = await startServer(home);
const client = await connect(app);
const browser = await playwright.launch(chromium === undefined ? {} : { executablePath: chromium });
try {
  const job = await startJob(app, client);
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
} finally {
  await browser.close();
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

async function startJob({ home: folder }: RunningApp, asked: AppClient): Promise<number> {
  const files = await makeImages(join(folder, 'images'), IMAGES, 1, 400);
  const setIds = [await makeSet(asked, 'A job that takes long', files)];
  return (await asked.api.recipe.create({ setIds, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }] })).id;
}

/** Goes to a screen, does something there, and says what took the thread too long meanwhile. */
async function measure(page: Page, name: string, screen: string, work: () => Promise<void>): Promise<void> {
  await page.evaluate((hash) => void (location.hash = hash), `#/${screen}`);
  await page.waitForTimeout(1000);
  await browser.startTracing(page, { categories: ['toplevel', '__metadata'] });
  await work();
  const tasks = mainThreadTasks((await browser.stopTracing()).toString('utf8'));
  const long = tasks.filter(({ cpuMs }) => cpuMs > BAR_MS).length;
  const [longest, longestByClock] = [maxOf(tasks, 'cpuMs'), maxOf(tasks, 'clockMs')].map((value) => value.toFixed(0));
  console.log(
    `while ${name}: ${tasks.length} tasks, the longest ${longest} ms (by the clock ${longestByClock} ms), ${long} over ${BAR_MS} ms: ${long === 0 ? 'pass' : 'MISSED'}`,
  );
}

interface Task {
  /** Of the thread's own: what other programs do meanwhile is not counted. */
  readonly cpuMs: number;
  readonly clockMs: number;
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly dur?: number;
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/** Of the pages' threads in a trace of Chromium's. */
function mainThreadTasks(trace: string): Task[] {
  const { traceEvents } = JSON.parse(trace) as { traceEvents: TraceEvent[] };
  const idOf = ({ pid, tid }: TraceEvent): string => `${pid} ${tid}`;
  const threads = new Set(
    traceEvents.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain').map(idOf),
  );
  const tasks = traceEvents.filter((event) => event.ph === 'X' && event.name.endsWith('RunTask') && threads.has(idOf(event)));
  if (tasks.length === 0) throw new Error('The trace holds no task of the page.');
  return tasks.map(({ dur = 0, tdur = 0 }) => ({ cpuMs: tdur / 1000, clockMs: dur / 1000 }));
}

function maxOf(tasks: readonly Task[], key: keyof Task): number {
  return tasks.reduce((most, task) => Math.max(most, task[key]), 0);
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
