import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from './client.ts';
import { open } from './create-screen.ts';
import { expect, test } from './fixture.ts';
import { LANGUAGES, look, setLook, THEMES } from './look.ts';
import { removeHome } from './running-app.ts';

/** What each language says of the two files. */
const SAID = {
  en: {
    settings: /settings[.]json: the values of threads can’t be used, so defaults are in their place[.] The file is kept as /,
    yaml: /extra_model_paths[.]yaml: it is not valid YAML, so its folders are not listed[.]/,
    kind: 'Added by you',
  },
  'zh-CN': {
    settings: /settings[.]json：threads 的值无法使用，已改用默认值。原文件保留为 /,
    yaml: /extra_model_paths[.]yaml：不是有效的 YAML，其中的文件夹未列出。/,
    kind: '由你添加',
  },
} as const;

test('what is wrong with the settings’ file, and with a ComfyUI’s, is told in the language of the window', async ({
  apps,
  show,
}) => {
  test.setTimeout(120_000);
  const home = mkdtempSync(join(tmpdir(), 'i2l-e2e-'));
  const comfyui = join(home, 'ComfyUI');
  mkdirSync(join(comfyui, 'models', 'loras'), { recursive: true });
  writeFileSync(join(comfyui, 'extra_model_paths.yaml'), 'a: [');
  const settings = { device: 'cpu', language: 'en', threads: -1, comfyuiFolders: [comfyui] };
  writeFileSync(join(home, 'settings.json'), JSON.stringify(settings));
  const app = await apps.start(home, { HOME: home });
  const page = await show(app);
  try {
    const client = await connect(app);
    await open(page, 'settings');
    for (const language of LANGUAGES) {
      for (const theme of THEMES) {
        await setLook(client, page, theme, language);
        const said = SAID[language];
        await expect(page.getByText(said.settings)).toBeVisible();
        const install = page.getByRole('listitem').filter({ hasText: said.yaml });
        await expect(install.getByText(said.kind, { exact: true })).toBeVisible();
        await install.scrollIntoViewIfNeeded();
        await look(page, `damaged-settings-${theme}-${language}`);
      }
    }
    client.close();
  } finally {
    // It would try to reconnect.
    await page.goto('about:blank');
    await app.stop();
    removeHome(home);
  }
});
