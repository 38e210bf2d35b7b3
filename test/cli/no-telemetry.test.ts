import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempFolder } from '../unit/temp.ts';
import { runCli } from './run-cli.ts';
import { makeTinyModels } from './tiny-models.ts';

/** Signs by which onnxruntime takes a machine for a build server, where it reports nothing anyway. */
const BUILD_SERVER = { CI: undefined, TF_BUILD: undefined, GITHUB_ACTIONS: undefined, ORT_RUNNING_UNIT_TESTS: undefined };
const OWN_SETTING = { ORT_DISABLE_TELEMETRY: undefined, ORT_TELEMETRY_DISABLED: undefined };

test('a job leaves nothing of a telemetry store in the home folder', async () => {
  const folder = tempFolder();
  const home = join(folder, 'home');
  mkdirSync(home);
  const models = makeTinyModels(join(folder, 'models'));
  const image = new URL('../../resources/examples/hills.jpg', import.meta.url).pathname;
  const run = await runCli(
    ['create', image, '--models', models, '--device', 'cpu', '-o', join(folder, 'out.safetensors'), '--json'],
    {
      env: { ...BUILD_SERVER, ...OWN_SETTING, HOME: home, XDG_CACHE_HOME: join(home, '.cache'), I2L_HOME: join(folder, 'data') },
    },
  );
  expect(run.code, run.stdout).toBe(0);
  expect(readdirSync(home, { recursive: true })).toEqual([]);
});
