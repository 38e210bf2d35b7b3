import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Locator } from '@playwright/test';
import { connect } from './client.ts';
import { createLora, jobNamed, open } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { halfWrittenIn, withHeldEngine } from './held-engine.ts';
import { expectAccessible, look, resetLook, setLook, THEMES } from './look.ts';
import { makeHome, removeHome, startServer } from './running-app.ts';

/** What may happen while a LoRA is being written. */
const loras = (home: string): string => join(home, 'loras');
const file = (home: string, name: string): string => join(loras(home), `${name}.safetensors`);
const state = (job: Locator, words: string): Locator => job.getByText(words, { exact: true });
const cancel = (job: Locator): Promise<void> => job.getByRole('button', { name: 'Cancel job', exact: true }).click();

/** How far a job is, in percent. */
async function progressOf(job: Locator): Promise<number> {
  return Number(await job.getByRole('progressbar').getAttribute('aria-valuenow'));
}

test('a page that is reloaded finds its job as it was, and the job goes on', async ({ studio, app }) => {
  const client = await connect(app);
  const job = jobNamed(studio, 'Reloaded');
  await withHeldEngine(
    loras(app.home),
    () => createLora(studio, 'Reloaded'),
    async (engine) => {
      await expect(state(job, 'Running')).toBeVisible();
      const before = await progressOf(job);
      expect(before).toBeGreaterThan(0);
      await expectAccessible(studio, 'a running job');
      await expect(job).toContainText('DINOv3 reads the images');
      for (const theme of THEMES) {
        await setLook(client, studio, theme, 'zh-CN');
        await expect(job).toContainText('DINOv3 正在读取图片');
        await look(studio, `queue-running-${theme}-zh-CN`);
      }
      await resetLook(client);
      await studio.reload();
      await expect(state(job, 'Running')).toBeVisible();
      expect(await progressOf(job), 'time has gone by, and nothing was begun anew').toBeGreaterThanOrEqual(before);
      await expect(studio.getByRole('contentinfo').getByRole('link', { name: 'Reloaded' }), 'also in the status bar').toBeVisible();
      engine.goOn();
      await expect(state(job, 'Done')).toBeVisible({ timeout: 30_000 });
    },
  );
  expect(existsSync(file(app.home, 'Reloaded'))).toBe(true);
  client.close();
});

test('a running job is cancelled: its half-written file is gone, and the queue goes on', async ({ studio, app }) => {
  const [job, next] = [jobNamed(studio, 'Unwanted'), jobNamed(studio, 'The next')];
  await withHeldEngine(
    loras(app.home),
    () => createLora(studio, 'Unwanted'),
    async (engine) => {
      await createLora(studio, 'The next');
      await expect(state(next, 'Waiting')).toBeVisible();
      await cancel(job);
      await expect(state(job, 'Cancelling')).toBeVisible();
      expect(halfWrittenIn(loras(app.home)).map(({ name }) => name)).toEqual(['Unwanted.safetensors']);
      engine.goOn();
      await expect(state(job, 'Cancelled')).toBeVisible();
    },
  );
  expect(halfWrittenIn(loras(app.home)).map(({ name }) => name)).not.toContain('Unwanted.safetensors');
  expect(existsSync(file(app.home, 'Unwanted'))).toBe(false);
  await expect(state(next, 'Done')).toBeVisible({ timeout: 30_000 });
  expect(existsSync(file(app.home, 'The next'))).toBe(true);
});

test('a second tab is in step: it shows the same job, and what is done in one is seen in both', async ({
  studio,
  app,
  openTab,
}) => {
  const tab = await openTab();
  await open(tab, 'queue');
  const [here, there] = [jobNamed(studio, 'In both'), jobNamed(tab, 'In both')];
  await withHeldEngine(
    loras(app.home),
    () => createLora(studio, 'In both'),
    async (engine) => {
      for (const job of [here, there]) await expect(state(job, 'Running')).toBeVisible();
      await expect(async () => expect(await progressOf(there)).toBe(await progressOf(here))).toPass();
      await cancel(there);
      for (const job of [here, there]) await expect(state(job, 'Cancelling')).toBeVisible();
      engine.goOn();
      for (const job of [here, there]) await expect(state(job, 'Cancelled')).toBeVisible();
    },
  );
});

test('an engine that is killed: one sentence says so, nothing is left of its file, and the job is run again', async ({
  studio,
  app,
}) => {
  const job = jobNamed(studio, 'Killed');
  await withHeldEngine(
    loras(app.home),
    () => createLora(studio, 'Killed'),
    async (engine) => {
      await job.getByRole('link').click();
      engine.kill();
      await expect(state(job, 'Failed')).toBeVisible();
    },
  );
  const said = studio.getByRole('complementary').getByRole('alert');
  await expect(said).toContainText('The engine stopped unexpectedly');
  await expect(said.getByRole('paragraph')).toHaveText(
    /^The engine stopped before it was done\. What was half written is removed; run the job again\. [^.]*memory[^.]*\.$/,
  );
  await expect(said, 'words of the command line are not for the window').not.toContainText('--');
  await expectAccessible(studio, 'a failed job');
  expect(halfWrittenIn(loras(app.home))).toEqual([]);
  expect(existsSync(file(app.home, 'Killed'))).toBe(false);
  await said.getByRole('button', { name: 'Try again' }).click();
  await expect(state(job, 'Done')).toBeVisible({ timeout: 30_000 });
  await expect(said).toHaveCount(0);
  await expect(job).toContainText('try 2');
  expect(existsSync(file(app.home, 'Killed'))).toBe(true);
});

test('a server that is killed: the page says so, and the next server goes on with the job', async ({ show, problems, desktop }) => {
  test.skip(desktop, 'a window ends with its app');
  test.setTimeout(120_000);
  const home = await makeHome();
  const killed = await startServer(home);
  const page = await show(killed);
  await withHeldEngine(
    loras(home),
    () => createLora(page, 'Survivor'),
    async () => {
      process.kill(killed.pid, 'SIGKILL');
      await expect(page.getByText('Connection lost, reconnecting …')).toBeVisible();
      await expect(page.getByText('Jobs go on without this page.')).toBeVisible();
      await expectAccessible(page, 'no connection');
    },
  );
  const next = await startServer(home);
  // In the same tab, as a user might: of the address only the fragment is another.
  await page.goto(next.link);
  await open(page, 'queue');
  await expect(state(jobNamed(page, 'Survivor'), 'Done')).toBeVisible({ timeout: 30_000 });
  expect(existsSync(file(home, 'Survivor'))).toBe(true);
  expect(halfWrittenIn(loras(home))).toEqual([]);
  // The browser logs each try to reconnect.
  problems.length = 0;
  await page.close();
  await next.stop();
  removeHome(home);
});
