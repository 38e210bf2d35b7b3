import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { goldenCases, goldenFolder, readAll, relativeError } from './goldens.ts';
import { encode, ENCODERS, openEncoder, smallestBudget } from './run-encoder.ts';

/** Tighter than the promised 1e-4: the exact GELU in place of its tanh form would show only above this. */
const BAR = 2e-5;

describe.each(ENCODERS)('%s against transformers', (network) => {
  test.each(goldenCases(network))('%s', async (name) => {
    const folder = goldenFolder(network, name);
    const golden = readAll(join(folder, 'expected.safetensors'));
    const pixels = golden.get('pixel_values')?.values ?? new Float32Array();
    const wanted = golden.get('embedding')?.values ?? new Float32Array();
    const encoder = openEncoder(network, folder);
    const smallest = smallestBudget(encoder, wanted.length / encoder.width);
    expect(relativeError(await encode(encoder, pixels, 1 << 30), wanted)).toBeLessThan(BAR);
    expect(relativeError(await encode(encoder, pixels, smallest), wanted)).toBeLessThan(BAR);
    // 3 heads and 56 values between them have no divisor.
    const shared = !(network === 'siglip2' && name === 'f32-sharded');
    expect(relativeError(await encode(encoder, pixels, 1 << 30, { shared }), wanted)).toBeLessThan(BAR);
    await expect(encode(encoder, pixels, smallest - 1)).rejects.toMatchObject({ code: 'MEMORY_BUDGET', fields: { smallest } });
  });
});
