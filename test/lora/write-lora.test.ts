import fc from 'fast-check';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { LORA_DTYPES } from '../../main/contract/job.ts';
import { LoraWriter } from '../../main/lora/write-lora.ts';
import { withFolder } from './lora-files.ts';

const { folder, clear } = withFolder('write-lora');
afterAll(clear);

/** Bits of 1, of the largest finite value, and of what is not finite. */
const BITS = {
  f32: { fine: [0x3f800000, 0x7f7fffff, 0xff7fffff, 0], bad: [0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff] },
  bf16: { fine: [0x3f80, 0x7f7f, 0xff7f, 0], bad: [0x7f80, 0xff80, 0x7fc0, 0xffff] },
  f16: { fine: [0x3c00, 0x7bff, 0xfbff, 0], bad: [0x7c00, 0xfc00, 0x7e00, 0xffff] },
} as const;

describe.each(LORA_DTYPES)('%s values', (dtype) => {
  const Bits = dtype === 'f32' ? Uint32Array : Uint16Array;
  let files = 0;
  /** Writes a factor of one row, which starts `from` values into its buffer. */
  const write = (values: readonly number[], from: number): void => {
    const path = join(folder, `${dtype}-${files++}.safetensors`);
    const shape = { modules: [{ path: 'm', in: values.length, out: 1, rank: 1 }], dtype, keyForm: 'plain' as const };
    const bits = Bits.from([...new Array<number>(from).fill(0), ...values]).subarray(from);
    const data = dtype === 'f32' ? new Float32Array(bits.buffer, bits.byteOffset, bits.length) : (bits as Uint16Array);
    const writer = new LoraWriter(path, shape, {});
    try {
      writer.write('m', 'A', { data, dims: [1, values.length] });
    } finally {
      writer.abort();
      expect(existsSync(path)).toBe(false);
    }
  };
  const values = fc.array(fc.constantFrom<number[]>(...BITS[dtype].fine), { minLength: 1, maxLength: 9 });
  const from = fc.integer({ min: 0, max: 3 });

  test('of any finite kind are taken', () => {
    fc.assert(
      fc.property(values, from, (fine, at) => write(fine, at)),
      { numRuns: 30, seed: 1 },
    );
  });

  test('one that is not finite is found wherever it is', () => {
    fc.assert(
      fc.property(values, from, fc.constantFrom<number[]>(...BITS[dtype].bad), fc.nat(), (fine, at, bad, place) => {
        const mixed = fine.with(place % fine.length, bad);
        expect(() => write(mixed, at)).toThrow(expect.objectContaining({ code: 'NOT_FINITE' }) as Error);
      }),
      { numRuns: 60, seed: 2 },
    );
  });
});
