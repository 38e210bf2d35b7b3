import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { recognise } from '../../main/networks/network.ts';
import { qwen25vl } from '../../main/networks/qwen25vl.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { float32Bytes, readValues, toFloat32 } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { tempFolder } from '../unit/temp.ts';
import { goldenFolder, modelPath, readAll, relativeError } from './goldens.ts';
import { encodeQwen, openQwen } from './run-qwen.ts';

/** Qwen2.5-VL as ComfyUI has it: one file, linear layers in fp8 with one scale each. */
const golden = goldenFolder('qwen25vl', 'f32-one-image');
const folder = tempFolder();
copyFileSync(join(golden, 'config.json'), join(folder, 'config.json'));

/** Every value that fp8 has, with its byte. */
const FLOATS = [...toFloat32(Uint8Array.from({ length: 256 }, (_, i) => i), 'F8_E4M3')]
  .map((value, byte) => ({ value, byte }))
  .filter(({ value }) => Number.isFinite(value))
  .sort((a, b) => a.value - b.value); // prettier-ignore

function nearest(value: number): { value: number; byte: number } {
  let [low, high] = [0, FLOATS.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((FLOATS[middle]?.value ?? 0) <= value) low = middle;
    else high = middle;
  }
  const [a, b] = [FLOATS[low] ?? FLOATS[0]!, FLOATS[high] ?? FLOATS[0]!];
  return Math.abs(a.value - value) <= Math.abs(b.value - value) ? a : b;
}

interface Names {
  readonly scale: string;
  readonly input: string;
}

interface Stored {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: 'F32' | 'F8_E4M3';
  readonly bytes: Uint8Array;
  /** What it stands for; none for what lies beside a weight. */
  readonly full?: Float32Array;
}

/** The golden in scaled fp8, and what its weights then are, in f32. */
function quantise(
  name: string,
  { scale: scaleName, input }: Names,
  without: readonly string[] = [],
): { fp8: string; full: string } {
  const checkpoint = Checkpoint.open(modelPath(golden));
  const [fp8, full] = [join(folder, `${name}.safetensors`), join(folder, `${name}-full.safetensors`)];
  const tensors = checkpoint.layout().filter((tensor) => !without.includes(tensor.name)).flatMap(({ name: key, shape }): Stored[] => {
    const values = readValues(checkpoint.tensor(key, shape));
    const isLinear = shape.length > 1 && !/embed_tokens|lm_head/.test(key);
    if (!isLinear) return [{ name: key, shape, dtype: 'F32' as const, bytes: float32Bytes(values), full: values }];
    const scale = Math.fround(values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 448);
    const stored = Array.from(values, (value) => nearest(value / scale));
    const base = key.slice(0, -'weight'.length);
    return [
      { name: key, shape, dtype: 'F8_E4M3' as const, bytes: Uint8Array.from(stored, ({ byte }) => byte), full: Float32Array.from(stored, ({ value }) => value * scale) },
      { name: `${base}${scaleName}`, shape: scaleName === 'scale_weight' ? [1] : [], dtype: 'F32' as const, bytes: float32Bytes(Float32Array.of(scale)) },
      { name: `${base}${input}`, shape: [1], dtype: 'F32' as const, bytes: float32Bytes(Float32Array.of(0.5)) },
    ];
  }); // prettier-ignore
  const marker = { name: 'scaled_fp8', shape: [0], dtype: 'F8_E4M3' as const, bytes: new Uint8Array() };
  writeSafetensors(fp8, [...tensors, ...(scaleName === 'scale_weight' ? [marker] : [])]);
  writeSafetensors(full, tensors.flatMap((tensor) => (tensor.full ? [{ ...tensor, dtype: 'F32' as const, bytes: float32Bytes(tensor.full) }] : []))); // prettier-ignore
  return { fp8, full };
}

const patches = { low: readAll(join(golden, 'expected.safetensors')).get('low.patches')?.values ?? new Float32Array() };
const tokensOf = async (path: string): Promise<Float32Array> =>
  (await encodeQwen(openQwen(golden, undefined, path), patches, 1 << 30)).tokens['low'] ?? new Float32Array();

describe.each([
  ['scale_weight', { scale: 'scale_weight', input: 'scale_input' }],
  ['weight_scale', { scale: 'weight_scale', input: 'input_scale' }],
])('%s', (name, names) => {
  test('computes with the weights that it stands for, and not with those of the file alone', async () => {
    const { fp8, full } = quantise(name, names);
    const [got, wanted] = [await tokensOf(fp8), await tokensOf(full)];
    expect(relativeError(got, wanted)).toBeLessThan(1e-5);
    // fp8 itself costs accuracy; more than that would be a scale that was forgotten.
    const original = readAll(join(golden, 'expected.safetensors')).get('low.tokens')?.values ?? [];
    expect(relativeError(got, original)).toBeGreaterThan(1e-4);
    expect(relativeError(got, original)).toBeLessThan(0.3);
  });

  test('has the layout of the file that it was made of', () => {
    const { fp8 } = quantise(name, names);
    const checkpoint = Checkpoint.open(fp8);
    expect(checkpoint.fingerprint()).toBe(Checkpoint.open(modelPath(golden)).fingerprint());
    expect([...checkpoint.names].some((tensor) => /scale|scaled_fp8/.test(tensor))).toBe(false);
  });
});

test('a file without the output head is used as it is', async () => {
  const { fp8, full } = quantise('headless', { scale: 'scale_weight', input: 'scale_input' }, ['lm_head.weight']);
  expect(relativeError(await tokensOf(fp8), await tokensOf(full))).toBeLessThan(1e-5);
});

describe('refused with a reason', () => {
  const { fp8 } = quantise('refused', { scale: 'scale_weight', input: 'scale_input' });
  const config = join(folder, 'config.json');
  /** The header with a change in it, of the same length. */
  function changed(file: string, from: string, to: string): string {
    const bytes = readFileSync(fp8);
    const at = bytes.indexOf(from);
    expect(at).toBeGreaterThan(0);
    bytes.write(to, at);
    const path = join(folder, file);
    writeFileSync(path, bytes);
    return path;
  }

  test('scales of another form', () => {
    const path = join(folder, 'rows.safetensors');
    const checkpoint = Checkpoint.open(fp8);
    const [file] = checkpoint.files;
    const tensors = [...(file?.tensors.values() ?? [])].map(({ name, dtype, shape, offset, length }) => {
      const isOne = name === 'model.layers.0.mlp.up_proj.scale_weight';
      const bytes = isOne ? float32Bytes(new Float32Array(2)) : readFileSync(fp8).subarray(offset, offset + length);
      return { name, dtype: dtype as 'F32', shape: isOne ? [2] : shape, bytes };
    });
    writeSafetensors(path, tensors);
    const open = (): unknown => recognise(qwen25vl, Checkpoint.open(path), config);
    expect(open).toThrow(/expected one finite number for the whole weight/);
  });

  test('tensors of another name', () => {
    const path = changed('named.safetensors', 'visual.merger.ln_q', 'vision.merger.ln_q');
    expect(() => recognise(qwen25vl, Checkpoint.open(path), config)).toThrow(/"visual\.merger\.ln_q\.weight" is missing/);
  });

  test('another kind of eight bits', () => {
    const path = changed('kind.safetensors', '"F8_E4M3"', '"F8_E5M2"');
    expect(() => recognise(qwen25vl, Checkpoint.open(path), config)).toThrow(
      /expected one of F32, F16, BF16, F8_E4M3, not F8_E5M2|are not part of/,
    );
  });
});
