import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Dtype } from '../../main/contract/tensor.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { float32Bytes, readValues, toBfloat16, toFloat32 } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();
const codes16 = Uint16Array.from({ length: 65536 }, (_, code) => code);
const codes8 = Uint8Array.from({ length: 256 }, (_, code) => code);
const bytesOf = (values: Uint16Array): Uint8Array => new Uint8Array(values.buffer);

describe('known values', () => {
  test.each<[Dtype, number, number]>([
    ['F16', 0x0000, 0],
    ['F16', 0x8000, -0],
    ['F16', 0x0001, 2 ** -24],
    ['F16', 0x83ff, -1023 * 2 ** -24],
    ['F16', 0x0400, 2 ** -14],
    ['F16', 0x3555, 0.333251953125],
    ['F16', 0x3c01, 1 + 2 ** -10],
    ['F16', 0x7bff, 65504],
    ['F16', 0x7c00, Infinity],
    ['F16', 0xfc00, -Infinity],
    ['F16', 0x7c01, NaN],
    ['F16', 0xffff, NaN],
    ['BF16', 0x8000, -0],
    ['BF16', 0x0001, 2 ** -133],
    ['BF16', 0x0080, 2 ** -126],
    ['BF16', 0xbf80, -1],
    ['BF16', 0x4049, 3.140625],
    ['BF16', 0x7f7f, 255 * 2 ** 120],
    ['BF16', 0x7f80, Infinity],
    ['BF16', 0xff80, -Infinity],
    ['BF16', 0x7f81, NaN],
    ['F8_E4M3', 0x00, 0],
    ['F8_E4M3', 0x80, -0],
    ['F8_E4M3', 0x01, 2 ** -9],
    ['F8_E4M3', 0x87, -7 * 2 ** -9],
    ['F8_E4M3', 0x08, 2 ** -6],
    ['F8_E4M3', 0x38, 1],
    ['F8_E4M3', 0x3b, 1.375],
    ['F8_E4M3', 0x78, 256],
    ['F8_E4M3', 0x7e, 448],
    ['F8_E4M3', 0xfe, -448],
    ['F8_E4M3', 0x7f, NaN],
    ['F8_E4M3', 0xff, NaN],
  ])('%s %i is %d', (dtype, code, value) => {
    const bytes = dtype === 'F8_E4M3' ? Uint8Array.of(code) : bytesOf(Uint16Array.of(code));
    expect(toFloat32(bytes, dtype)[0]).toBe(value); // Object.is: -0 is not 0, NaN is NaN
  });
});

describe('every code of a type, against another reckoning', () => {
  test('F16: sums of powers of two, bit by bit', () => {
    const decoded = toFloat32(bytesOf(codes16), 'F16');
    const reference = (code: number): number => {
      const bits = code.toString(2).padStart(16, '0');
      const [exponent, fraction] = [Number.parseInt(bits.slice(1, 6), 2), bits.slice(6)];
      const tail = [...fraction].reduce((sum, bit, i) => sum + Number(bit) * 2 ** (-1 - i), exponent === 0 ? 0 : 1);
      const size = exponent === 31 ? (fraction.includes('1') ? NaN : Infinity) : tail * 2 ** (Math.max(exponent, 1) - 15);
      return bits.startsWith('1') ? -size : size;
    };
    expect(codes16.findIndex((code) => !Object.is(decoded[code], reference(code)))).toBe(-1);
  });

  test('BF16: the upper half of an f32', () => {
    const decoded = toFloat32(bytesOf(codes16), 'BF16');
    const view = new DataView(new ArrayBuffer(4));
    const reference = (code: number): number => {
      view.setUint16(0, code);
      return view.getFloat32(0);
    };
    expect(codes16.findIndex((code) => !Object.is(decoded[code], reference(code)))).toBe(-1);
  });

  test('F8_E4M3: whole multiples of 2^-9, ascending', () => {
    const decoded = toFloat32(codes8, 'F8_E4M3');
    let multiple = 0n;
    for (let code = 0; code < 127; code++) {
      expect(decoded[code], `code ${code}`).toBe(Number(multiple) / 512);
      expect(decoded[code | 0x80], `code ${code} negative`).toBe(-Number(multiple) / 512);
      multiple += 1n << BigInt(Math.max(0, (code >> 3) - 1)); // the step doubles with each exponent after the second
    }
  });

  test('F32 passes bit by bit', () => {
    const bits = Uint32Array.of(0, 0x80000000, 1, 0x3f800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x007fffff);
    expect(new Uint32Array(toFloat32(new Uint8Array(bits.buffer), 'F32').buffer)).toEqual(bits);
  });
});

describe('toBfloat16', () => {
  /** |value| of f32 bits in units of 2^-149, exact; infinity as the value that would follow the largest. */
  function exact(bits: number): bigint {
    const exponent = (bits >>> 23) & 0xff;
    const fraction = BigInt(bits & 0x7fffff);
    return exponent === 0 ? fraction : (fraction + 0x800000n) << BigInt(exponent - 1);
  }

  /** The nearer of the two codes around a value; at equal distance the even one. */
  function nearest(bits: number): number {
    const below = bits >>> 16;
    const [low, value, high] = [exact((below << 16) >>> 0), exact(bits), exact(((below + 1) << 16) >>> 0)];
    const difference = value - low - (high - value);
    return difference > 0n || (difference === 0n && below % 2 === 1) ? below + 1 : below;
  }

  const valueOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0] as number;
  const isNan = (bits: number): boolean => (bits & 0x7fffffff) > 0x7f800000;

  test.each([
    ['a tie to even, down', 0x3f808000, 0x3f80],
    ['a tie to even, up', 0x3f818000, 0x3f82],
    ['above a tie', 0x3f808001, 0x3f81],
    ['below a tie', 0x3f817fff, 0x3f81],
    ['a negative tie', 0xbf818000, 0xbf82],
    ['the largest f32 becomes infinite', 0x7f7fffff, 0x7f80],
    ['infinity', 0xff800000, 0xff80],
    ['minus zero', 0x80000000, 0x8000],
    ['a tie at the smallest', 0x00008000, 0x0000],
    ['a subnormal that becomes normal', 0x007fffff, 0x0080],
  ])('%s', (_name, bits, code) => {
    expect(toBfloat16(valueOf(bits))).toBe(code);
    expect(nearest(bits), 'the reference itself').toBe(code);
  });

  test('NaN stays one', () => {
    const [back] = toFloat32(bytesOf(Uint16Array.of(toBfloat16(NaN))), 'BF16');
    expect(back).toBeNaN();
  });

  test('is the nearest of all f32', () => {
    const tie = fc.nat(0xffff).map((upper) => ((upper << 16) | 0x8000) >>> 0);
    const bits = fc.oneof(fc.nat(0xffffffff), tie).filter((candidate) => !isNan(candidate));
    const property = fc.property(bits, (candidate) => toBfloat16(valueOf(candidate)) === nearest(candidate));
    fc.assert(property, { seed: 7, numRuns: 5000 });
  });

  test('gives back every bf16', () => {
    const wrong = codes16.findIndex((code) => !isNan(code << 16) && toBfloat16(valueOf((code << 16) >>> 0)) !== code);
    expect(wrong).toBe(-1);
  });
});

test('values come out of a file, at an odd address too', () => {
  const path = join(folder, 'x.safetensors');
  writeSafetensors(path, [
    { name: 'byte', dtype: 'F8_E4M3', shape: [1], bytes: Uint8Array.of(0x38) },
    { name: 'odd', dtype: 'F32', shape: [2], bytes: float32Bytes(Float32Array.of(9, -1.5, 3e-39).subarray(1)) },
  ]);
  const checkpoint = Checkpoint.open(path);
  expect(checkpoint.tensor('odd', [2]).offset % 2).toBe(1);
  expect(readValues(checkpoint.tensor('odd', [2]))).toEqual(Float32Array.of(-1.5, 3e-39));
  expect(readValues(checkpoint.tensor('byte', [1]))).toEqual(Float32Array.of(1));
  expect(toFloat32(Buffer.from([255, ...float32Bytes(Float32Array.of(2.5))]).subarray(1), 'F32')).toEqual(Float32Array.of(2.5));
});
