import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openLora } from '../../main/lora/read-lora.ts';
import { randomDense, withFolder, writeLora, type TestModule } from '../lora/lora-files.ts';
import { doneOf, failureOf, runCli } from './run-cli.ts';

const { folder, clear } = withFolder('lora-commands');
afterAll(clear);

const modules: TestModule[] = ['transformer_blocks.0.attn.to_q', 'transformer_blocks.1.attn.to_k'].map((path, i) => ({
  path,
  a: randomDense(4, 16, i),
  b: randomDense(24, 4, i + 9),
}));
const file = writeLora(join(folder, 'lora.safetensors'), modules);
const output = join(folder, 'out.safetensors');
const env = { I2L_HOME: join(folder, 'home') };
const i2l = (...args: string[]) => runCli([...args, '--json'], { env });

describe('rank', () => {
  test('writes the rank that is asked, and says what it keeps', async () => {
    const result = doneOf(await i2l('rank', file, '--rank', '2', '-o', output));
    expect(result).toMatchObject({ rank: 2, modules: 2 });
    expect(result.kept).toBeGreaterThan(result.worstKept!);
    expect(openLora(output).modules.map(({ rank }) => rank)).toEqual([2, 2]);
  });

  test.each([
    ['no choice', []],
    ['two choices', ['--energy', '0.9', '--ratio', '5']],
    ['energy 0', ['--energy', '0']],
    ['energy above 1', ['--energy', '1.01']],
    ['a ratio below 1', ['--ratio', '0.5']],
    ['a rank past all bounds', ['--rank', '5000']],
  ])('%s: 2', async (_what, args) => {
    failureOf(await i2l('rank', file, ...args, '-o', join(folder, 'never.safetensors')), 'BAD_ARGUMENT', 2);
  });

  test('onto its own input is refused, and the input is as it was', async () => {
    failureOf(await i2l('rank', file, '--rank', '2', '-o', file), 'OUTPUT_IS_INPUT');
    expect(openLora(file).modules.map(({ rank }) => rank)).toEqual([4, 4]);
  });

  test('a spectrum that has no place to be kept names that place', async () => {
    writeFileSync(join(folder, 'no-folder'), '');
    const run = await runCli(['rank', file, '--spectrum', '--json'], { env: { I2L_HOME: join(folder, 'no-folder', 'x') } });
    expect(failureOf(run, 'FILE_WRITE_FAILED').message).toContain('no-folder');
  });
});

test('a merge that fails leaves no file', async () => {
  const half = writeLora(join(folder, 'half.safetensors'), modules, (path, factor) =>
    factor === 'A' ? `${path}.lora_A.weight` : `${path}.x.lora_B.weight`,
  );
  const never = join(folder, 'merged.safetensors');
  failureOf(await i2l('merge', file, `${half}:0.5`, '-o', never), 'LORA_KEYS');
  expect(existsSync(never)).toBe(false);
});

test('diff says of each module how it differs, and of all what one looks for', async () => {
  const [first, second] = modules as [TestModule, TestModule];
  const one = { ...first, path: 'transformer_blocks.2.attn.to_q' };
  const a = writeLora(join(folder, 'a.safetensors'), [first, second, one]);
  // The same, another, and the opposite.
  const b = writeLora(join(folder, 'b.safetensors'), [
    first,
    { ...second, b: randomDense(24, 4, 77) },
    { ...one, b: { ...one.b, values: one.b.values.map((value) => -value) } },
  ]);
  const lines = (await runCli(['diff', a, b], { env })).stdout.trim().split('\n');
  expect(lines).toHaveLength(5);
  const cosines = lines.slice(1, 4).map((line) => Number(line.trim().split(/ +/)[1]));
  expect([cosines[0], cosines[2]]).toEqual([1, -1]);
  expect(lines[4]).toBe(`Cosine of 3 modules: median ${cosines[1]?.toFixed(6)}, worst -1.000000 (${one.path}).`);
});
