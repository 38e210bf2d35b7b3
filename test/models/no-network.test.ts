import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test } from 'vitest';
import { runCli, startCli, endOf } from '../cli/run-cli.ts';
import { makeTinyModels, modelFile } from '../cli/tiny-models.ts';
import { makeLora } from '../comfyui/fake-home.ts';
import { fakeInterface } from '../server/serving.ts';
import { tempFolder } from '../unit/temp.ts';

/** The app makes no request that the user did not ask for: whatever is done, nothing connects to anything. */
const root = tempFolder();
const models = makeTinyModels(join(root, 'models'));
const lora = makeLora(join(root, 'lora.safetensors'));
const image = fileURLToPath(new URL('../parity/goldens/preprocess/inputs/portrait.jpg', import.meta.url));
let log: string;
let env: Record<string, string>;

beforeEach(() => {
  const home = mkdtempSync(join(root, 'home-'));
  log = join(home, 'network.log');
  env = { HOME: home, USERPROFILE: home, I2L_HOME: join(home, 'i2l'), I2L_TEST_NETWORK: 'none', I2L_TEST_NETWORK_LOG: log };
});

const tried = (): string => (existsSync(log) ? readFileSync(log, 'utf8') : '');

test.each([
  [['models', 'ls'], 0],
  [['models', 'scan', models], 0],
  [['models', 'verify'], 0],
  [['identify', modelFile(models, 'dinov3-7b')], 0],
  [['create', image, '--models', models, '-o', 'made.safetensors', '--device', 'cpu'], 0],
  [['plan', image, '--models', models], 0],
  [['inspect', lora], 1],
  [['comfyui'], 0],
  [['jobs', 'ls'], 0],
] as const)('i2l %s', async (args, code) => {
  const run = await runCli(args, { env, cwd: env['HOME']! });
  expect(tried()).toBe('');
  expect(run.code, run.stderr).toBe(code);
});

test('i2l serve, and the app behind it, at rest', async () => {
  const built = fakeInterface(join(env['HOME']!, 'renderer'));
  const child = startCli(['serve', '--interface', built, '--json'], { env });
  const end = endOf(child);
  await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
  await sleep(1000);
  child.kill('SIGINT');
  expect((await end).code).toBe(0);
  expect(tried()).toBe('');
});

describe('the guard itself', () => {
  test('sees a download, which connects to the hubs and to nobody else', async () => {
    const { code, stderr } = await runCli(['models', 'pull', 'bias'], { env });
    expect(code).toBe(1);
    expect(stderr).toContain("can't be reached");
    const hosts = tried().trimEnd().split('\n').map((line) => /^connect to (\S+)/.exec(line)?.[1]); // prettier-ignore
    expect(new Set(hosts)).toEqual(new Set(['huggingface.co', 'www.modelscope.cn']));
  });

  test('stands before these tests too', async () => {
    await expect(fetch('http://example.com')).rejects.toThrow();
    await expect(fetch('http://93.184.215.14')).rejects.toThrow();
  });
});
