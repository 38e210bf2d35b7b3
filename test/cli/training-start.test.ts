import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { openLora } from '../../main/lora/read-lora.ts';
import { makeLora } from '../trainers/exports.ts';
import { tempFolder } from '../unit/temp.ts';
import { runCli } from './run-cli.ts';

/** i2l export --for as a user does it. */
const folder = tempFolder();
const lora = join(folder, 'style.safetensors');
const examples = new URL('../../resources/examples', import.meta.url).pathname;

beforeAll(() => void makeLora(lora, { 'transformer_blocks.0.attn.to_q': 2, 'transformer_blocks.1.attn.to_q': 3 }));

test('a folder to go on from: LoRA, images, captions, config; then what to do', async () => {
  const output = join(folder, 'my start');
  const args = [
    'export',
    lora,
    '--for',
    'musubi',
    '-o',
    output,
    '--images',
    examples,
    '--trigger',
    'ink,wash',
    '--rank',
    '4',
    '--steps',
    '60',
  ];
  const run = await runCli(args);
  expect(run.code, run.stderr).toBe(0);
  expect(run.stdout).toContain('LoRA of rank 4, 2 modules; 3 images');
  expect(run.stdout).toContain('TEXT_ENCODER, at the top of train.sh');
  expect(openLora(join(output, 'start.safetensors')).modules.map(({ rank }) => rank)).toEqual([4, 4]);
  expect(readdirSync(join(output, 'images'))).toHaveLength(6);
  const again = await runCli([...args, '--json']);
  expect(again.code).toBe(2);
  expect(again.stdout + again.stderr).toContain('nothing is overwritten');
});

test.each([
  ['no folder', ['--for', 'musubi']],
  ['an unknown trainer', ['--for', 'kohya', '-o', join(folder, 'x')]],
  ['two places', ['--for', 'musubi', '-o', join(folder, 'x'), '--comfyui', folder]],
  ['none', []],
  ['no steps', ['--for', 'musubi', '-o', join(folder, 'x'), '--steps', '0']],
])('%s is a bad argument', async (_what, args) => {
  const { code } = await runCli(['export', lora, ...args]);
  expect(code).toBe(2);
  expect(existsSync(join(folder, 'x'))).toBe(false);
});
