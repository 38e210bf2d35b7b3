import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { EXPERTS, type ExpertName } from '../../main/contract/experts.ts';
import { createJobSchema } from '../../main/contract/job.ts';
import type { LoraView } from '../../main/contract/loras.ts';
import { BIAS_RANK, makeTinyExperts } from '../cli/tiny-experts.ts';
import { connect, type AppClient } from './client.ts';
import { drop, example, jobNamed, newSet, open } from './create-screen.ts';
import { expect, test } from './fixture.ts';

/** A LoRA with each expert that there is, chosen in the window; models of all of them, tiny and random. */

const TITLES: Readonly<Record<ExpertName, string>> = { style: 'Style', coarse: 'Coarse', fine: 'Fine', bias: 'Bias' };
const RANK = 4;
const COMBINATIONS: readonly (readonly ExpertName[])[] = [
  ['style'],
  ['coarse'],
  ['fine'],
  ['coarse', 'fine', 'bias'],
  ['style', 'coarse', 'fine', 'bias'],
];

let client: AppClient;
test.beforeAll(async ({ app }) => {
  if (!app) return;
  client = await connect(app);
  const modelsFolder = makeTinyExperts(join(app.home, 'tiny-models'));
  await client.choose([modelsFolder]);
  await client.api.app.settings.set({ modelsFolder });
});
test.afterAll(() => client?.close());

async function choose(page: Page, experts: readonly ExpertName[]): Promise<void> {
  for (const name of EXPERTS) {
    const box = page.getByRole('checkbox', { name: new RegExp(`^${TITLES[name]}`) });
    await expect(box).toBeEnabled();
    await box.setChecked(experts.includes(name));
  }
}

/** A new set of one image. */
async function fillOne(page: Page): Promise<void> {
  await newSet(page);
  await drop(page, [example('sea.jpg')]);
}

/** Makes the LoRA as it is set up, and checks what was estimated against what the library got. */
async function create(page: Page, name: string, rank: number): Promise<LoraView> {
  const estimate = page.getByRole('region', { name: 'Estimate' });
  await expect(estimate.locator('div').filter({ hasText: /^Rank/ })).toContainText(String(rank));
  await page.getByLabel('Name of the LoRA').fill(name);
  await page.getByRole('button', { name: 'Create LoRA' }).click();
  await expect(page.getByText(`In the queue: ${name}`)).toBeVisible();
  await open(page, 'queue');
  await expect(jobNamed(page, name).getByText('Done', { exact: true })).toBeVisible({ timeout: 30_000 });
  const made = (await client.api.loras.list({})).loras.find((lora) => lora.name === name);
  if (!made) throw new Error(`The library has no ${name}.`);
  expect(made.rank).toEqual({ min: rank, max: rank });
  return made;
}

async function expertsOfLatestJob(): Promise<ExpertName[]> {
  const [latest] = await client.api.jobs.list({ limit: 1 });
  const { input } = await client.api.jobs.get({ id: latest?.id ?? 0 });
  return createJobSchema.parse(input).experts.map(({ name }) => name);
}

for (const experts of COMBINATIONS) {
  test(`a LoRA for Qwen-Image with ${experts.join(', ')}`, async ({ studio }) => {
    await fillOne(studio);
    await choose(studio, experts);
    const rank = experts.reduce((sum, expert) => sum + (expert === 'bias' ? BIAS_RANK : RANK), 0);
    const made = await create(studio, `With ${experts.join(' and ')}`, rank);
    expect(made.experts).toHaveLength(experts.length);
    expect(await expertsOfLatestJob()).toEqual([...experts]);
    expect(made.target).toBe('qwen-image');
  });
}

test('a LoRA for Z-Image, which has Style alone', async ({ studio }) => {
  await fillOne(studio);
  await studio.getByRole('combobox', { name: /^For/ }).selectOption('z-image');
  await expect(studio.getByRole('checkbox', { name: /^Coarse/ })).toHaveCount(0);
  expect((await create(studio, 'For Z-Image', RANK)).target).toBe('z-image');
});

test('Bias alone makes nothing: the window says what is missing', async ({ studio }) => {
  await fillOne(studio);
  await choose(studio, ['bias']);
  await expect(studio.getByText('Turn on Style, Coarse or Fine.')).toBeVisible();
  await expect(studio.getByRole('button', { name: 'Create LoRA' })).toBeDisabled();
});
