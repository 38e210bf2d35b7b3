import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { hasEnded } from '../../main/contract/queue.ts';
import { connect, type AppClient } from './client.ts';
import { makeSet } from './create-loras.ts';
import { examplePath, open } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { LANGUAGES, look, resetLook, setLook, THEMES, type Language } from './look.ts';

/** What each language's log says of a job with odd images, in order; paths aside. */
const SAID: Readonly<Record<Language, readonly RegExp[]>> = {
  en: [
    /turned[.]jpg: turned upright, as its EXIF orientation says[.]$/,
    /<b>wide[.]png: transparent parts are laid on white[.]$/,
    /<b>wide[.]png: 640 × 90 pixels: only its middle square is seen[.]$/,
    /^Image can’t be used: .*gone[.]jpg: it is not there[.] Check the path, or put it back[.]$/,
    /^An 8-bit copy of \S+ is made, once \([\d.]+ kB\)[.]$/,
    /^An 8-bit copy of \S+ is made, once \([\d.]+ kB\)[.]$/,
    /^The next job finds [\d.]+ [kM]B of encoders in memory[.]$/,
  ],
  'zh-CN': [
    /turned[.]jpg：已按 EXIF 方向转正。$/,
    /<b>wide[.]png：透明部分已置于白色背景上。$/,
    /<b>wide[.]png：640 × 90 像素，只能看到中间的正方形部分。$/,
    /^图片无法使用：.*gone[.]jpg：找不到此文件或文件夹。请检查路径，或将其放回原处。$/,
    /^正在制作 \S+ 的 8 位副本，仅需一次（.*）。$/,
    /^正在制作 \S+ 的 8 位副本，仅需一次（.*）。$/,
    /^内存中保留了 .* 的编码器权重，供下一个任务使用。$/,
  ],
};

/** A job whose images are not all as they should be, with encoders in 8 bits. @returns its id */
async function runOddJob(client: AppClient, home: string): Promise<number> {
  const { api } = client;
  const file = (name: string): string => join(home, name);
  await sharp(examplePath('sea.jpg')).resize(320).withMetadata({ orientation: 6 }).toFile(file('turned.jpg'));
  await sharp(examplePath('hills.jpg')).resize(640, 90).ensureAlpha(0.5).toFile(file('<b>wide.png'));
  copyFileSync(examplePath('town.jpg'), file('gone.jpg'));
  const set = await makeSet(client, 'Odd images', ['turned.jpg', '<b>wide.png', 'gone.jpg'].map(file));
  rmSync(file('gone.jpg'));
  await api.app.settings.set({ fastEncoders: true });
  const experts = [{ name: 'style' as const, strength: 1 }];
  const { id } = await api.recipe.create({ setIds: [set], target: 'qwen-image', experts, skipBad: true });
  await expect.poll(async () => hasEnded((await api.jobs.get({ id })).state), { timeout: 60_000 }).toBe(true);
  return id;
}

test('the log of a job is told in the language of the window, and shows names as they are', async ({ studio, app }) => {
  test.setTimeout(120_000);
  const client = await connect(app);
  const id = await runOddJob(client, app.home);
  await open(studio, `queue/${id}`);
  for (const language of LANGUAGES) {
    for (const theme of THEMES) {
      await setLook(client, studio, theme, language);
      const lines = studio.getByRole('complementary').getByRole('listitem');
      await expect(lines).toHaveCount(SAID[language].length);
      for (const [i, said] of SAID[language].entries()) await expect(lines.nth(i).locator('span')).toHaveText(said);
      await look(studio, `job-log-${theme}-${language}`);
    }
  }
  await resetLook(client);
  client.close();
});
