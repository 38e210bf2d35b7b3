import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { keptSpectrum } from '../../main/pipelines/spectrum-cache.ts';
import { randomDense, run, withFolder, writeLora, type TestModule } from './lora-files.ts';

const { folder, clear } = withFolder('spectra');
afterAll(clear);
const cache = join(folder, 'cache');

const modules = (path: string, rank = 3): TestModule[] => [{ path, a: randomDense(rank, 7, 1), b: randomDense(6, rank, 2) }];

async function keep(file: string): Promise<string> {
  const { path } = keptSpectrum(file, cache);
  mkdirSync(dirname(path), { recursive: true });
  await run({ kind: 'spectrum', file, output: path });
  return path;
}

test('is found again by the tensors, under whatever key form', async () => {
  const file = writeLora(join(folder, 'one.safetensors'), modules('layers.0.m'));
  expect(keptSpectrum(file, cache).spectrum).toBeUndefined();
  const path = await keep(file);
  expect(keptSpectrum(file, cache)).toMatchObject({ path, spectrum: [{ path: 'layers.0.m', rank: 3, in: 7, out: 6 }] });
  const renamed = writeLora(
    join(folder, 'other.safetensors'),
    modules('layers.0.m'),
    (p, f) => `diffusion_model.${p}.lora_${f}.weight`,
  );
  expect(keptSpectrum(renamed, cache).path).toBe(path);
  expect(keptSpectrum(renamed, cache).spectrum).toBeDefined();
});

test("is not taken for another LoRA's of the same bytes", async () => {
  await keep(writeLora(join(folder, 'three.safetensors'), modules('layers.1.m')));
  const moved = writeLora(join(folder, 'four.safetensors'), modules('layers.2.m'));
  expect(keptSpectrum(moved, cache).spectrum).toBeUndefined();
});

test('that is damaged is as good as none', async () => {
  const file = writeLora(join(folder, 'five.safetensors'), modules('layers.0.m', 2));
  writeFileSync(await keep(file), 'not this');
  expect(keptSpectrum(file, cache).spectrum).toBeUndefined();
});

test('what is no LoRA is refused before anything is hashed', () => {
  const file = join(folder, 'six.safetensors');
  writeFileSync(file, '');
  expect(() => keptSpectrum(file, cache)).toThrow(expect.objectContaining({ code: 'SAFETENSORS_HEADER' }) as Error);
});
