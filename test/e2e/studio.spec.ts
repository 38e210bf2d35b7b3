import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { connect, type AppClient } from './client.ts';
import { createLoras, makeSet } from './create-loras.ts';
import { examplePath, EXAMPLES, fillSet, jobNamed, newSet, open } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { LANGUAGES, look, resetLook, setLook, THEMES } from './look.ts';
import type { RunningApp } from './running-app.ts';

/** The others have specs of their own. */
const SCREENS = ['queue', 'settings'] as const;

test('a LoRA is made: images named, estimate seen, created, watched to its end', async ({ studio, app }) => {
  await fillSet(studio, 'From three images');
  const estimate = studio.getByRole('region', { name: 'Estimate' });
  await expect(estimate).toContainText('Rank');
  await expect(estimate).toContainText(String(4 * EXAMPLES.length));
  await studio.getByRole('button', { name: 'Create LoRA' }).click();
  await studio.getByRole('button', { name: 'Open queue' }).click();
  await studio.reload();
  const job = jobNamed(studio, 'From three images');
  await expect(job.getByText('Done', { exact: true })).toBeVisible({ timeout: 60_000 });
  expect(existsSync(join(app.home, 'loras', 'From three images.safetensors'))).toBe(true);
});

test('a job that fails says why, and can be run again or forgotten', async ({ studio, app }) => {
  const file = join(app.home, 'soon gone.jpg');
  copyFileSync(examplePath('sea.jpg'), file);
  const { api, choose, close } = await connect(app);
  await choose([file]);
  const { id } = await api.sets.create({ name: 'Without images' });
  for await (const event of await api.sets.addImages({ id, files: [file] })) if (event.type === 'done') rmSync(file);
  close();
  await open(studio, `create/${id}`);
  await expect(studio.getByText('file missing')).toBeVisible();
  await studio.getByRole('button', { name: 'Create LoRA' }).click();
  await studio.getByRole('button', { name: 'Open queue' }).click();
  const job = jobNamed(studio, 'Without images');
  await expect(job.getByText('Failed', { exact: true })).toBeVisible({ timeout: 30_000 });
  await expect(studio.getByRole('complementary').getByRole('alert')).toContainText('soon gone.jpg');
  await job.getByRole('button', { name: 'Actions for Without images' }).click();
  await studio.getByRole('menuitem', { name: 'Remove from list' }).click();
  await expect(job).toHaveCount(0);
});

test('a waiting job can be moved, and the queue paused, by keyboard', async ({ studio }) => {
  await open(studio, 'queue');
  await studio.getByRole('button', { name: 'Pause queue' }).click();
  await expect(studio.getByText('The queue is paused.')).toBeVisible();
  for (const name of ['First', 'Second']) {
    await fillSet(studio, name);
    await studio.keyboard.press('Control+Enter');
    await expect(studio.getByText(`In the queue: ${name}`)).toBeVisible();
  }
  await studio.keyboard.press('Control+3');
  const titles = jobNamed(studio, 'Waiting').getByRole('link');
  await expect(titles).toHaveText(['First', 'Second']);
  await studio.getByRole('button', { name: 'Actions for Second' }).focus();
  await studio.keyboard.press('Enter');
  await studio.getByRole('menuitem', { name: 'Run earlier' }).press('Enter');
  await expect(titles).toHaveText(['Second', 'First']);
  for (const name of ['First', 'Second']) {
    const job = jobNamed(studio, name);
    await job.getByRole('button', { name: 'Cancel job', exact: true }).click();
    await expect(job.getByText('Cancelled')).toBeVisible();
  }
  await studio.getByRole('button', { name: 'Resume queue' }).click();
});

test('two windows see the same settings, and a restart of none forgets them', async ({ studio, openTab }) => {
  await open(studio, 'settings');
  const other = await openTab();
  await open(other, 'settings');
  await expect(other.getByLabel('Theme')).toHaveValue('system');
  await studio.getByLabel('Theme').selectOption('light');
  await expect(other.locator('html')).toHaveAttribute('data-theme', 'light');
  await other.getByLabel('Language').selectOption('zh-CN');
  await expect(studio.getByRole('heading', { level: 1 })).toHaveText('设置');
  await studio.reload();
  await expect(studio.getByRole('heading', { level: 1 })).toHaveText('设置');
  await studio.getByLabel('主题').selectOption('system');
  await studio.getByLabel('语言').selectOption('en');
  await expect(studio.getByRole('heading', { level: 1 })).toHaveText('Settings');
});

test('what is told at the edge of the window changes its language with the window', async ({ studio, app }) => {
  const client = await connect(app);
  await open(studio, 'create');
  await newSet(studio);
  await studio.getByRole('button', { name: 'Actions for New set' }).first().click();
  await studio.getByRole('menuitem', { name: 'Delete' }).click();
  const told = studio.getByRole('region', { name: /^(Messages|消息)$/ });
  await expect(told).toContainText('Image set deleted: New set');
  await expect(told.getByRole('button', { name: 'Undo' })).toBeVisible();
  await client.api.app.settings.set({ language: 'zh-CN' });
  await expect(told).toContainText('已删除图片集：New set');
  await expect(told.getByRole('button', { name: '撤销' })).toBeVisible();
  await resetLook(client);
  client.close();
});

test('settings are reset only when asked twice; Escape goes back', async ({ studio }) => {
  await open(studio, 'settings');
  await studio.getByLabel('CPU threads').fill('1');
  await studio.getByLabel('CPU threads').blur();
  await studio.getByRole('button', { name: 'Reset settings' }).click();
  await studio.keyboard.press('Escape');
  await expect(studio.getByRole('dialog')).toHaveCount(0);
  await expect(studio.getByLabel('CPU threads')).toHaveValue('1');
});

test('encoders stay ready, as the estimate and the log say, where the setting for it is on', async ({ studio, app }) => {
  const client = await connect(app);
  const estimate = studio.getByRole('region', { name: 'Estimate' });
  const keep = studio.getByLabel('Keep encoders ready');
  await open(studio, 'settings');
  await keep.uncheck();
  await fillSet(studio, 'Read anew');
  await expect(estimate).toContainText('Memory');
  await expect(estimate).not.toContainText('Stays ready');
  await open(studio, 'settings');
  await keep.check();
  await fillSet(studio, 'Ready for more');
  await expect(estimate).toContainText('Stays ready');
  // Nobody has seen it: images whose embeddings are kept need no encoders, and none would stay.
  const unseen = join(app.home, 'unseen.png');
  await sharp(examplePath('sea.jpg')).resize(200).toFile(unseen);
  const set = await makeSet(client, 'Ready for more', [unseen]);
  const { api } = client;
  const { id } = await api.recipe.create({ setIds: [set], target: 'qwen-image', experts: [{ name: 'style', strength: 1 }] });
  await expect.poll(async () => (await api.jobs.get({ id })).state, { timeout: 60_000 }).toBe('done');
  expect((await api.jobs.log({ id })).map(({ text }) => text).join('\n')).toContain('of encoders in memory');
  client.close();
});

/** A job that is done, one that failed, one that waits in a paused queue. @returns the id of the one that failed */
async function fillQueue(client: AppClient, { home }: RunningApp): Promise<number> {
  const { api } = client;
  await createLoras(client, [['Autumn light', EXAMPLES]]);
  const file = join(home, 'not there any more.jpg');
  copyFileSync(examplePath('town.jpg'), file);
  const lost = await makeSet(client, 'Old town', [file]);
  rmSync(file);
  const recipe = { target: 'qwen-image', experts: [{ name: 'style', strength: 1 }] } as const;
  const create = (setIds: number[]) => api.recipe.create({ ...recipe, experts: [...recipe.experts], setIds });
  const { id } = await create([lost]);
  await expect.poll(async () => (await api.jobs.get({ id })).state, { timeout: 60_000 }).toBe('failed');
  await api.jobs.pauseQueue({});
  await create([await makeSet(client, 'Winter sea', EXAMPLES.map(examplePath))]);
  return id;
}

test('axe finds nothing on any screen, in both themes and languages; screenshots', async ({ studio, app }) => {
  test.setTimeout(240_000);
  const client = await connect(app);
  const failed = await fillQueue(client, app);
  for (const language of LANGUAGES) {
    for (const theme of THEMES) {
      await setLook(client, studio, theme, language);
      for (const screen of SCREENS) {
        await open(studio, screen === 'queue' ? `queue/${failed}` : screen);
        await expect(studio.getByRole('heading', { level: 1 })).toBeVisible();
        await expect(studio.getByRole('status', { name: /Loading|正在加载/ })).toHaveCount(0);
        await look(studio, `${screen}-${theme}-${language}`);
      }
    }
  }
  await resetLook(client);
  await client.api.jobs.resumeQueue();
  client.close();
});
