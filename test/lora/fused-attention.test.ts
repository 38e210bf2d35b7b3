import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { HASH_PLACEHOLDER } from '../../main/lora/metadata.ts';
import type { LoraDtypeName } from '../../main/lora/write-lora.ts';
import { LoraWriter } from '../../main/lora/write-lora.ts';
import { loraKey, type KeyForm } from '../../main/lora/keys.ts';
import { isOfForm, openLora } from '../../main/lora/read-lora.ts';
import { targetBlocks, zImage } from '../../main/lora/targets.ts';
import { inspectLora } from '../../main/pipelines/inspect-lora.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { toBfloat16 } from '../../main/weights/values.ts';
import { denseOf, multiply, randomDense, run, withFolder, writeLora, type Dense, type TestModule } from './lora-files.ts';

const { folder, clear } = withFolder('fused');
afterAll(clear);

let files = 0;
const newFile = (): string => join(folder, `${files++}.safetensors`);

const HIDDEN = 4;
const FEED_FORWARD = 6;
const SIZES: Record<string, readonly [number, number]> = {
  'attention.to_q': [HIDDEN, HIDDEN],
  'attention.to_k': [HIDDEN, HIDDEN],
  'attention.to_v': [HIDDEN, HIDDEN],
  'attention.to_out.0': [HIDDEN, HIDDEN],
  'feed_forward.w1': [FEED_FORWARD, HIDDEN],
  'feed_forward.w2': [HIDDEN, FEED_FORWARD],
};

/** Values that bf16 holds exactly, none of them zero. */
function exactDense(rows: number, columns: number, seed: number): Dense {
  const { values } = randomDense(rows, columns, seed);
  return { rows, columns, values: values.map((value) => Math.sign(value || 1) * (1 + Math.floor(Math.abs(value) * 64) / 64)) };
}

function moduleOf(path: string, rank: number, seed: number): TestModule {
  const [out, inner] = SIZES[path.replace(/^\w+\.\d+\./, '')]!;
  return { path, a: exactDense(rank, inner, seed), b: exactDense(out, rank, seed + 1) };
}

/** Through the writer alone, as a job's stages would give the factors. */
async function write(
  modules: readonly TestModule[],
  keyForm: KeyForm,
  dtype: LoraDtypeName = 'f32',
): Promise<{ file: string; hash: string }> {
  const file = newFile();
  const ranked = modules.map(({ path, a, b }) => ({ path, in: a.columns, out: b.rows, rank: a.rows }));
  const writer = new LoraWriter(file, { modules: ranked, dtype, keyForm }, { sshs_model_hash: HASH_PLACEHOLDER });
  const stored = ({ values }: Dense): Float32Array | Uint16Array =>
    dtype === 'f32' ? Float32Array.from(values) : Uint16Array.from(values, toBfloat16);
  for (const { path, a, b } of modules) {
    writer.write(path, 'A', { data: stored(a), dims: [a.rows, a.columns] });
    writer.write(path, 'B', { data: stored(b), dims: [b.rows, b.columns] });
  }
  return { file, hash: await writer.finish() };
}

const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);
const sameAs = (modules: readonly TestModule[]): object[] =>
  modules.map(({ path, a, b }) => ({ path, rank: a.rows, dense: multiply(b, a).values })).sort(byPath);

function readBack(file: string): object[] {
  const lora = openLora(file);
  const dense = denseOf(lora);
  return lora.modules.map(({ path, rank }) => ({ path, rank, dense: dense.get(path)!.values })).sort(byPath);
}

/** Any modules of any blocks in any order, each with a rank of its own. */
const anyLora = fc
  .uniqueArray(
    fc.record({
      block: fc.constantFrom('layers.0', 'layers.11', 'context_refiner.1', 'noise_refiner.0'),
      name: fc.constantFrom(...Object.keys(SIZES)),
      rank: fc.integer({ min: 1, max: 5 }),
    }),
    { minLength: 1, selector: ({ block, name }) => `${block}.${name}` },
  )
  .map((list) => list.map(({ block, name, rank }, i) => moduleOf(`${block}.${name}`, rank, 10 * i)));

describe("Z-Image in kohya's form", () => {
  test('any LoRA comes back as it was: modules, ranks, dW to the bit', async () => {
    await fc.assert(
      fc.asyncProperty(anyLora, fc.constantFrom<LoraDtypeName>('f32', 'bf16'), async (modules, dtype) => {
        const { file, hash } = await write(modules, 'kohya', dtype);
        expect(readBack(file)).toEqual(sameAs(modules));
        expect(inspectLora(file).tensorHash).toBe(hash);
        expect(isOfForm(openLora(file), 'kohya')).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("musubi's form keeps q, k and v apart, and says that it is musubi's", async () => {
    await fc.assert(
      fc.asyncProperty(anyLora, async (modules) => {
        const { file } = await write(modules, 'musubi');
        expect(readBack(file)).toEqual(sameAs(modules));
        const apart = modules.some(({ path }) => /to_[qkv]$/.test(path));
        expect(openLora(file).keyForm).toBe(apart ? 'musubi' : 'kohya');
        if (apart) expect(isOfForm(openLora(file), 'kohya')).toBe(false);
      }),
      { numRuns: 20 },
    );
  });

  test('the stored layer is the three stacked, with an alpha of its rank', async () => {
    const [q, k, v] = ['to_q', 'to_k', 'to_v'].map((name, i) => moduleOf(`layers.2.attention.${name}`, i + 1, i));
    const { file } = await write([v!, q!, k!], 'kohya');
    const { tensors } = readSafetensors(file);
    expect([...tensors.keys()].sort()).toEqual(
      ['alpha', 'lora_down.weight', 'lora_up.weight'].map((end) => `lora_unet_layers_2_attention_qkv.${end}`),
    );
    // The file as ComfyUI sees it: a layer of another name, so that it isn't split again.
    const raw = newFile();
    const [stored] = [...openLora(file).modules];
    expect(stored!.scale).toBe(1);
    const fused = tensors.get('lora_unet_layers_2_attention_qkv.lora_up.weight')!;
    expect(fused.shape).toEqual([3 * HIDDEN, 6]);
    const whole = { a: stack(q!.a, k!.a, v!.a), b: diagonal(q!.b, k!.b, v!.b) };
    writeLora(raw, [{ path: 'whole', ...whole }]);
    const stacked = [q, k, v].flatMap((module) => [...multiply(module!.b, module!.a).values]);
    expect([...denseOf(raw).get('whole')!.values]).toEqual(stacked);
    const values = (path: string, name: string): string =>
      JSON.stringify([...new Float32Array(new Uint8Array(bytesOf(path, name)).buffer)]);
    expect(values(file, 'lora_unet_layers_2_attention_qkv.lora_up.weight')).toBe(values(raw, 'whole.lora_B.weight'));
    expect(values(file, 'lora_unet_layers_2_attention_qkv.lora_down.weight')).toBe(values(raw, 'whole.lora_A.weight'));
    expect(values(file, 'lora_unet_layers_2_attention_qkv.alpha')).toBe('[6]');
  });

  test('a full target gives the layers that ComfyUI has, and no other', async () => {
    const target = zImage(HIDDEN, FEED_FORWARD, 3, 1);
    const modules = targetBlocks(target).flatMap((block) =>
      block.modules.map(({ path, in: inner, out }) => ({ path, a: exactDense(2, inner, 1), b: exactDense(out, 2, 2) })),
    );
    const { file } = await write(modules, 'kohya');
    const names = [...readSafetensors(file).tensors.keys()].filter((key) => key.endsWith('.lora_up.weight'));
    const layers = ['layers_0', 'layers_1', 'layers_2', 'context_refiner_0', 'noise_refiner_0'];
    const own = ['attention_qkv', 'attention_out', 'feed_forward_w1', 'feed_forward_w2', 'feed_forward_w3'];
    expect(names.sort()).toEqual(layers.flatMap((layer) => own.map((name) => `lora_unet_${layer}_${name}.lora_up.weight`)).sort());
    expect(readBack(file)).toEqual(sameAs(modules));
  });

  test('columns of zeros that are there to learn stay', async () => {
    const modules = ['to_q', 'to_k', 'to_v'].map((name, i) => {
      const module = moduleOf(`layers.0.attention.${name}`, 4, i);
      return { ...module, b: { ...module.b, values: module.b.values.map((value, at) => (at % 4 > 1 ? 0 : value)) } };
    });
    expect(readBack((await write(modules, 'kohya')).file)).toEqual(sameAs(modules));
  });

  test('q, k and v of different sizes are refused in this form alone', async () => {
    const odd = { path: 'layers.0.attention.to_k', a: exactDense(1, HIDDEN, 1), b: exactDense(2, 1, 2) };
    const modules = [moduleOf('layers.0.attention.to_q', 1, 3), odd];
    await expect(write(modules, 'kohya')).rejects.toMatchObject({ code: 'LORA_MISMATCH' });
    expect(readBack((await write(modules, 'comfyui')).file)).toHaveLength(2);
  });
});

describe('fused layers of other programs', () => {
  const dense = (rank: number, out = 3 * HIDDEN): TestModule => ({
    path: 'layers.0.attention.qkv',
    a: randomDense(rank, HIDDEN, 1),
    b: randomDense(out, rank, 2),
  });

  test.each<[string, KeyForm, Record<string, number>, number]>([
    ['with dots', 'comfyui', {}, 1],
    ["kohya's, with an alpha", 'kohya', { 'lora_unet_layers_0_attention_qkv.alpha': 1.5 }, 0.5],
  ])('one trained as a whole, %s, is three of its rank', (_what, form, extra, scale) => {
    const whole = dense(3);
    const file = writeLora(newFile(), [whole], (path, factor) => loraKey(form, path, factor), extra);
    const parts = openLora(file).modules;
    expect(parts.map(({ path, rank, out }) => [path, rank, out])).toEqual(
      ['to_q', 'to_k', 'to_v'].map((name) => [`layers.0.attention.${name}`, 3, HIDDEN]),
    );
    const product = multiply(whole.b, whole.a).values;
    const found = [...denseOf(file).values()].flatMap(({ values }) => [...values]);
    found.forEach((value, i) => expect(value).toBeCloseTo(scale * product[i]!, 12));
  });

  test('one that is no Z-Image layer (other sizes of k and v) stays whole', () => {
    const file = writeLora(newFile(), [dense(2, HIDDEN + 2)]);
    expect(openLora(file).modules.map(({ path }) => path)).toEqual(['layers.0.attention.qkv']);
  });

  test('one of zeros alone is three whole ones', () => {
    const whole = dense(2);
    const file = writeLora(newFile(), [{ ...whole, b: { ...whole.b, values: whole.b.values.fill(-0) } }]);
    expect(openLora(file).modules.map(({ rank }) => rank)).toEqual([2, 2, 2]);
  });

  test('one beside its own parts is refused', () => {
    const file = writeLora(newFile(), [dense(2), moduleOf('layers.0.attention.to_k', 1, 9)]);
    expect(() => openLora(file)).toThrow(
      expect.objectContaining({
        code: 'LORA_KEYS',
        fields: expect.objectContaining({ keys: ['layers.0.attention.to_k'] }) as object,
      }) as Error,
    );
  });
});

describe('jobs over a fused file', () => {
  const modules = ['to_k', 'to_out.0', 'to_q', 'to_v'].map((name, i) =>
    moduleOf(`layers.0.attention.${name}`, 2 + (i % 2), 20 * i),
  );
  const engine = { dtype: 'f32', split: 'balanced' } as const;

  test('merge to other keys and back is the same file', async () => {
    const { file } = await write(modules, 'kohya');
    const [apart, again] = [newFile(), newFile()];
    const merge = { kind: 'merge', dtype: 'f32' } as const;
    await run({ ...merge, inputs: [{ file, strength: 1 }], output: apart, keyForm: 'comfyui' });
    expect(readBack(apart)).toEqual(sameAs(modules));
    const { tensorHash } = await run({ ...merge, inputs: [{ file: apart, strength: 1 }], output: again, keyForm: 'kohya' });
    expect(tensorHash).toBe(inspectLora(again).tensorHash);
    expect(readBack(again)).toEqual(sameAs(modules));
    const { comparison } = await run({ kind: 'diff', a: file, b: again });
    expect(comparison!.map(({ relativeError }) => relativeError)).toEqual(modules.map(() => 0));
  });

  test('another rank, and a cut of that, are the same from fused keys as from others', async () => {
    const sources = [await write(modules, 'kohya'), await write(modules, 'comfyui')].map(({ file }) => file);
    const results: Map<string, Dense>[] = [];
    for (const file of sources) {
      const [three, one] = [newFile(), newFile()];
      const job = { kind: 'reset-rank', ...engine, keyForm: 'kohya' } as const;
      await run({ ...job, file, choice: { kind: 'fixed', rank: 3 }, output: three });
      expect(openLora(three).modules.map(({ rank }) => rank)).toEqual([3, 3, 3, 3]);
      await run({ ...job, file: three, choice: { kind: 'fixed', rank: 1 }, output: one });
      results.push(denseOf(three), denseOf(one));
    }
    for (const [path, { values }] of results[0]!) {
      const wanted = multiply(modules.find((module) => module.path === path)!.b, modules.find((module) => module.path === path)!.a);
      values.forEach((value, i) => expect(value).toBeCloseTo(wanted.values[i]!, 4));
    }
    for (const [path, { values }] of results[1]!) {
      values.forEach((value, i) => expect(value).toBeCloseTo(results[3]!.get(path)!.values[i]!, 5));
    }
  });
});

function stack(...parts: readonly Dense[]): Dense {
  return {
    rows: parts.reduce((sum, { rows }) => sum + rows, 0),
    columns: parts[0]!.columns,
    values: Float64Array.from(parts.flatMap(({ values }) => [...values])),
  };
}

function diagonal(...parts: readonly Dense[]): Dense {
  const columns = parts.reduce((sum, part) => sum + part.columns, 0);
  const values: number[] = [];
  let before = 0;
  for (const part of parts) {
    for (let row = 0; row < part.rows; row++) {
      const own = [...part.values.subarray(row * part.columns, (row + 1) * part.columns)];
      values.push(...Array<number>(before).fill(0), ...own, ...Array<number>(columns - before - part.columns).fill(0));
    }
    before += part.columns;
  }
  return { rows: values.length / columns, columns, values: Float64Array.from(values) };
}

function bytesOf(file: string, name: string): Uint8Array {
  const { tensors } = readSafetensors(file);
  const { offset, length } = tensors.get(name)!;
  return readFileSync(file).subarray(offset, offset + length);
}
