import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from './client.ts';
import { expect, test } from './fixture.ts';
import { removeHome } from './running-app.ts';

test('from an empty machine by the demo to a LoRA, marked wherever one looks', async ({ apps, show }) => {
  test.setTimeout(180_000);
  const home = mkdtempSync(join(tmpdir(), 'i2l-e2e-'));
  const user = join(home, 'user');
  mkdirSync(user);
  writeFileSync(join(home, 'settings.json'), JSON.stringify({ device: 'cpu', language: 'en' }));
  const app = await apps.start(home, { HOME: user, HF_HOME: user, MODELSCOPE_CACHE: user });
  const page = await show(app);
  try {
    await page.getByRole('button', { name: 'Try the demo' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Create a LoRA', { timeout: 60_000 });
    const banner = page.getByText('Demo weights: LoRAs made now mean nothing.');
    await expect(banner).toBeVisible();
    const client = await connect(app);
    const { images, modelsFolder } = await client.api.demo.prepare({});
    expect(images.length).toBe(3);
    const { sets } = await client.api.sets.list({});
    expect(sets.map(({ name }) => name)).toEqual(['Demo images']);
    const setIds = sets.map(({ id }) => id);
    const experts = [{ name: 'style', strength: 1 }] as const;
    const { id } = await client.api.recipe.create({ setIds, target: 'qwen-image', experts: [...experts], name: 'demo' });
    expect((await client.api.jobs.get({ id })).input).toMatchObject({ models: modelsFolder });
    await page.evaluate((hash) => void (location.hash = hash), `#/queue/${id}`);
    await expect(page.getByRole('article').getByText('Done', { exact: true })).toBeVisible({ timeout: 60_000 });
    await expect(banner).toBeVisible();
    expect(existsSync(join(home, 'loras', 'demo.safetensors'))).toBe(true);
    expect(readFileSync(join(home, 'loras', 'demo.safetensors')).includes('no meaning')).toBe(true);
    await page.getByRole('button', { name: 'End demo' }).click();
    await expect(banner).toHaveCount(0);
    client.close();
  } finally {
    // It would try to reconnect.
    await page.goto('about:blank');
    await app.stop();
    removeHome(home);
  }
});
