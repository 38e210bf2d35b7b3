import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readValues } from '../../main/weights/values.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { goldenCases, goldenFolder, readAll, relativeError } from './goldens.ts';
import { copyModels, photographsJob } from './photographs-job.ts';
import { decodeGolden, silent } from './run-decoder.ts';

/** The promised bar is 1e-3; two matrix products in f32 stay far below it. */
const BAR = 1e-5;
/** Half of the last bit: 8 bits of bf16, 11 of f16; over a tensor the mean is smaller. */
const ROUNDING = { f32: BAR, f16: 2 ** -11, bf16: 2 ** -8 } as const;

const folder = mkdtempSync(join(tmpdir(), 'i2l-parity-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the decoder against the reference', () => {
  const cases = goldenCases('i2l').flatMap((name) => (['f32', 'f16', 'bf16'] as const).map((dtype) => [name, dtype] as const));
  test.each(cases)('%s, written as %s', async (name, dtype) => {
    const golden = readAll(goldenFolder('i2l', name, 'expected.safetensors'));
    const lora = await decodeGolden(name, folder, dtype);
    const wanted = [...golden].filter(([key]) => key.startsWith('transformer_blocks.'));
    expect([...lora.names].sort()).toEqual(wanted.map(([key]) => key).sort());
    for (const [key, { shape, values }] of wanted) {
      expect(relativeError(readValues(lora.tensor(key, shape)), values), key).toBeLessThan(ROUNDING[dtype]);
    }
  });
});

test('photographs to a LoRA, end to end', async () => {
  const golden = readAll(goldenFolder('i2l', 'photographs', 'expected.safetensors'));
  const output = join(folder, 'photographs.safetensors');
  await runJob(silent, photographsJob(output, copyModels(join(folder, 'models'))));
  const lora = Checkpoint.open(output);
  const wanted = [...golden].filter(([key]) => key.startsWith('transformer_blocks.'));
  expect(wanted.length).toBeGreaterThan(0);
  for (const [key, { shape, values }] of wanted) {
    expect(relativeError(readValues(lora.tensor(key, shape)), values), key).toBeLessThan(1e-3);
  }
});
