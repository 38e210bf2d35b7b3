import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { goldenCases, goldenFolder, readAll, relativeError } from './goldens.ts';
import { encodeQwen, openQwen } from './run-qwen.ts';

/** Tighter than the promised 1e-4. */
const BAR = 1e-5;

describe('qwen2.5-vl against transformers', () => {
  test.each(goldenCases('qwen25vl'))('%s', async (name) => {
    const folder = goldenFolder('qwen25vl', name);
    const golden = readAll(join(folder, 'expected.safetensors'));
    const encoder = openQwen(folder);
    const patches = Object.fromEntries(encoder.pictures.map((picture) => [picture.name, golden.get(`${picture.name}.patches`)?.values ?? new Float32Array()])); // prettier-ignore
    const roomy = await encodeQwen(encoder, patches, 1 << 30);
    const smallest = await encodeQwen(encoder, patches, 1).then(
      () => Number.NaN,
      (error: unknown) => Number(I2lError.from(error).fields['smallest']),
    );
    const tight = await encodeQwen(encoder, patches, smallest);
    // One of them has a single head of keys and values.
    const shared = name === 'f32-sharded' ? roomy : await encodeQwen(encoder, patches, 1 << 30, { shared: true });
    for (const picture of encoder.pictures) {
      const wanted = golden.get(`${picture.name}.tokens`);
      expect(wanted?.shape.slice(1)).toEqual([picture.tokens, encoder.width]);
      expect(relativeError(roomy.tokens[picture.name] ?? [], wanted?.values ?? [])).toBeLessThan(BAR);
      expect(relativeError(shared.tokens[picture.name] ?? [], wanted?.values ?? [])).toBeLessThan(BAR);
      expect(relativeError(tight.tokens[picture.name] ?? [], wanted?.values ?? [])).toBeLessThan(BAR);
    }
  });
});
