import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { LoraWriter } from '../../main/lora/write-lora.ts';
import type { NetworkRunner, PreparedNetwork } from '../../main/pipelines/context.ts';
import { streamLoras, type LoraOutcome } from '../../main/pipelines/stream-lora.ts';
import { withFolder } from './lora-files.ts';

const { folder, clear } = withFolder('stream-lora');
afterAll(clear);
afterEach(() => vi.restoreAllMocks());

const outputs = ['a', 'b', 'c'].map((name) => join(folder, `${name}.safetensors`));

/** Three files, each with a rank of its own of one module. */
function stream(): Promise<LoraOutcome[]> {
  const run: NetworkRunner['run'] = (_, { sink }) => {
    sink('m A', { data: Float32Array.from({ length: 6 }, (_, i) => i), dims: [3, 2] }, { first: 0, count: 3 });
    sink('m B', { data: Float32Array.from({ length: 6 }, (_, i) => -i), dims: [2, 3] }, { first: 0, count: 3 });
    return Promise.resolve();
  };
  const module = { path: 'm', in: 2, out: 2, rank: 1 };
  const files = outputs.map((output) => ({ output, metadata: { hash: `i2l-tensor-hash-`.padEnd(64, '.') }, modules: [module], dtype: 'f32', keyForm: 'plain' }) as const); // prettier-ignore
  const part = { nameOf: (_: string, factor: string) => `m ${factor}`, ranksOf: (file: number) => ({ first: file, count: 1 }) };
  return streamLoras({ run } as NetworkRunner, {} as PreparedNetwork, { load: () => ({}), parts: [part] }, files);
}

test('of several files none appears unless all are whole', async () => {
  writeFileSync(outputs[0] as string, 'old');
  let sealed = 0;
  const whole = LoraWriter.prototype.seal;
  vi.spyOn(LoraWriter.prototype, 'seal').mockImplementation(function (this: LoraWriter) {
    if (++sealed === 3) return Promise.reject(new Error('no space'));
    return whole.call(this);
  });
  await expect(stream()).rejects.toThrow('no space');
  expect(sealed).toBe(3);
  expect(readdirSync(folder)).toEqual(['a.safetensors']);

  vi.restoreAllMocks();
  const outcomes = await stream();
  expect(outcomes.map(({ output }) => existsSync(output))).toEqual([true, true, true]);
  expect(new Set(outcomes.map(({ tensorHash }) => tensorHash)).size).toBe(3);
});
