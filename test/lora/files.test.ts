import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { KEY_FORMS } from '../../main/contract/job.ts';
import { loraKey, parseKey, type KeyForm } from '../../main/lora/keys.ts';
import type { Metadata } from '../../main/lora/metadata.ts';
import { isOfForm, openLora } from '../../main/lora/read-lora.ts';
import { qwenImage, targetBlocks, zImage } from '../../main/lora/targets.ts';
import { inspectLora } from '../../main/pipelines/inspect-lora.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { denseOf, minus, multiply, norm, randomDense, run, withFolder, writeLora, type TestModule } from './lora-files.ts';

const { folder, clear } = withFolder('files');
afterAll(clear);

let files = 0;
const newFile = (): string => join(folder, `${files++}.safetensors`);
const paths = [qwenImage(), zImage()].flatMap((target) =>
  targetBlocks(target).flatMap((block) => block.modules.map((module) => module.path)),
);

function modules(...names: string[]): TestModule[] {
  return names.map((path, i) => ({ path, a: randomDense(2, 6 + i, i), b: randomDense(5, 2, i + 50) }));
}

/** Musubi's keys are kohya's where nothing is fused. */
const readAs = (form: KeyForm): KeyForm => (form === 'musubi' ? 'kohya' : form);

describe('key forms', () => {
  test.each(KEY_FORMS)('%s: every module of both targets comes back', (form) => {
    for (const path of paths) {
      for (const factor of ['A', 'B'] as const)
        expect(parseKey(loraKey(form, path, factor))).toEqual({ form: readAs(form), module: path, part: factor });
    }
  });

  test.each([
    ['transformer_blocks.0.attn.to_q.lora_A.default.weight', 'reference', 'transformer_blocks.0.attn.to_q', 'A'],
    ['diffusion_model.layers.3.attention.to_out.0.lora_B.weight', 'comfyui', 'layers.3.attention.to_out.0', 'B'],
    ['transformer.img_in.lora.down.weight', 'diffusers', 'img_in', 'A'],
    ['lora_unet_transformer_blocks_12_img_mlp_net_0_proj.lora_up.weight', 'kohya', 'transformer_blocks.12.img_mlp.net.0.proj', 'B'],
    ['lora_unet_transformer_blocks_12_attn_to_q.alpha', 'kohya', 'transformer_blocks.12.attn.to_q', 'alpha'],
    ['transformer.transformer_blocks.12.img_mod.1.lora_down.weight', 'onetrainer', 'transformer_blocks.12.img_mod.1', 'A'],
    ['lora_unet_layers_3_attention_qkv.lora_up.weight', 'kohya', 'layers.3.attention.qkv', 'B'],
  ] as const)('%s', (key, form, module, part) => {
    expect(parseKey(key)).toEqual({ form, module, part });
  });

  test.each(['model.embed.weight', 'x.lora_A.bias', 'lora_unet_who_knows.lora_down.weight', 'x.dora_scale', 'a.lora_mid.weight'])(
    '%s is not known',
    (key) => {
      expect(parseKey(key)).toBeUndefined();
    },
  );

  const conversions = KEY_FORMS.flatMap((from) => KEY_FORMS.map((to) => [from, to] as const));
  test.each(conversions)('%s to %s and back keeps dW', async (from, to) => {
    const made = modules('transformer_blocks.0.attn.to_q', 'transformer_blocks.1.img_mlp.net.2');
    const keyOf = (form: KeyForm) => (path: string, factor: 'A' | 'B') => loraKey(form, path, factor);
    const file = writeLora(newFile(), made, keyOf(from));
    const output = newFile();
    await run({ kind: 'merge', inputs: [{ file, strength: 1 }], output, dtype: 'f32', keyForm: to });
    const lora = openLora(output);
    expect(lora.keyForm).toBe(readAs(to));
    expect(isOfForm(lora, to)).toBe(true);
    expect(isOfForm(lora, to === 'comfyui' ? 'reference' : 'comfyui')).toBe(false);
    expect(lora.modules.map(({ scale }) => scale)).toEqual([1, 1]);
    for (const { path, a, b } of made) expect(norm(minus(multiply(b, a), denseOf(lora).get(path)!))).toBe(0);
  });
});

describe('what is refused', () => {
  const refused: [string, Record<string, number>, (path: string, factor: 'A' | 'B') => string, object][] = [
    [
      'an unknown key',
      { 'mystery.weight': 1 },
      (path, factor) => `${path}.lora_${factor}.weight`,
      { code: 'LORA_KEYS', fields: expect.objectContaining({ keys: ['mystery.weight'] }) as object },
    ],
    [
      'a module with one factor',
      {},
      (path, factor) => (factor === 'A' ? `${path}.lora_A.weight` : `other.lora_B.weight`),
      { code: 'LORA_KEYS' },
    ],
    [
      'an alpha that is not finite',
      { 'm.alpha': Number.NaN },
      (path, factor) => `${path}.lora_${factor}.weight`,
      { code: 'LORA_MISMATCH' },
    ],
  ];
  test.each(refused)('%s', (_what, extra, keyOf, error) => {
    const file = writeLora(newFile(), modules('m'), keyOf, extra);
    expect(() => openLora(file)).toThrow(expect.objectContaining(error) as Error);
  });

  test('factors that do not fit', () => {
    const file = writeLora(newFile(), [{ path: 'm', a: randomDense(2, 6, 1), b: randomDense(5, 3, 2) }]);
    expect(() => openLora(file)).toThrow(expect.objectContaining({ code: 'LORA_MISMATCH' }) as Error);
  });
});

test("another model's modules keep their names in every form that can hold them, and are refused in the others", async () => {
  const made = modules('double_blocks.0.img_attn.proj', 'single_blocks.3.linear1');
  const file = writeLora(newFile(), made);
  for (const keyForm of KEY_FORMS) {
    const output = newFile();
    const written = run({ kind: 'merge', inputs: [{ file, strength: 1 }], output, dtype: 'f32', keyForm });
    if (keyForm === 'kohya' || keyForm === 'musubi') {
      await expect(written).rejects.toMatchObject({ code: 'LORA_KEYS', fields: { keys: made.map(({ path }) => path) } });
      expect(existsSync(output)).toBe(false);
    } else {
      await written;
      expect(openLora(output).modules.map(({ path }) => path)).toEqual(made.map(({ path }) => path));
    }
  }
});

describe('merge', () => {
  test('is the weighted sum, over the modules of both', async () => {
    const one = modules('a', 'b');
    const other = modules('b', 'c').map((module, i) => ({
      ...module,
      a: randomDense(3, i === 0 ? 7 : 6, 90 + i),
      b: randomDense(5, 3, 95 + i),
    }));
    const output = newFile();
    const inputs = [
      { file: writeLora(newFile(), one), strength: 0.5 },
      { file: writeLora(newFile(), other), strength: -2 },
    ];
    await run({ kind: 'merge', inputs, output, dtype: 'f32', keyForm: 'comfyui' });
    const merged = denseOf(output);
    const scaled = ({ a, b }: TestModule, by: number): Float64Array => multiply(b, a).values.map((value) => value * by);
    const wanted = new Map([
      ['a', scaled(one[0]!, 0.5)],
      ['b', scaled(one[1]!, 0.5).map((value, i) => value + scaled(other[0]!, -2)[i]!)],
      ['c', scaled(other[1]!, -2)],
    ]);
    expect([...merged.keys()]).toEqual(['a', 'b', 'c']);
    expect(openLora(output).modules.map(({ rank }) => rank)).toEqual([2, 5, 3]);
    for (const [path, values] of wanted) merged.get(path)!.values.forEach((value, i) => expect(value).toBeCloseTo(values[i]!, 5));
  });

  test.each<Metadata>([
    { 'i2l.synthetic': 'true' },
    // As the first versions wrote it.
    { 'i2l.warning': 'Made with random weights.' },
  ])('what one of random weights went into says so, unless it went in with no strength: %j', async (ofDemo) => {
    const real = { file: writeLora(newFile(), modules('m')), strength: 1 };
    const demo = { file: writeLora(newFile(), modules('m'), undefined, {}, ofDemo), strength: 0.5 };
    const said = async (inputs: (typeof real)[]): Promise<(string | undefined)[]> => {
      const output = newFile();
      await run({ kind: 'merge', inputs, output, dtype: 'f32', keyForm: 'plain' });
      const { metadata } = openLora(output).file;
      return [metadata['i2l.synthetic'], metadata['i2l.warning']];
    };
    expect(await said([real, demo])).toEqual(['true', expect.stringContaining('random weights')]);
    expect(await said([real, { ...demo, strength: 0 }])).toEqual([undefined, undefined]);
  });

  test('LoRAs of different models are refused', async () => {
    const inputs = [
      writeLora(newFile(), modules('m')),
      writeLora(newFile(), [{ path: 'm', a: randomDense(2, 9, 1), b: randomDense(5, 2, 2) }]),
    ];
    const job = {
      kind: 'merge' as const,
      inputs: inputs.map((file) => ({ file, strength: 1 })),
      output: newFile(),
      dtype: 'f32' as const,
      keyForm: 'plain' as const,
    };
    await expect(run(job)).rejects.toMatchObject({ code: 'LORA_MISMATCH', fields: { module: 'm' } });
  });
});

describe('diff', () => {
  test('gives the relative error and cosine of dW', async () => {
    const [one, other] = [modules('m', 'n'), modules('m', 'o')].map((list) => list);
    other![0] = { path: 'm', a: randomDense(4, 6, 70), b: randomDense(5, 4, 71) };
    const result = await run({ kind: 'diff', a: writeLora(newFile(), one!), b: writeLora(newFile(), other!) });
    const [x, y] = [multiply(one![0]!.b, one![0]!.a), multiply(other![0]!.b, other![0]!.a)];
    const dot = x.values.reduce((sum, value, i) => sum + value * y.values[i]!, 0);
    expect(result.comparison).toEqual([
      {
        module: 'm',
        relativeError: expect.closeTo(norm(minus(x, y)) / norm(x), 6) as number,
        cosine: expect.closeTo(dot / norm(x) / norm(y), 6) as number,
      },
      { module: 'n', only: 'a' },
      { module: 'o', only: 'b' },
    ]);
  });

  test.each(['a', 'b'] as const)('a value that is not finite in %s is told, with its file', async (side) => {
    const bad = modules('m');
    bad[0]!.b.values[1] = Number.NaN;
    const files = {
      a: writeLora(newFile(), modules('m')),
      b: writeLora(newFile(), modules('m')),
      [side]: writeLora(newFile(), bad),
    };
    await expect(run({ kind: 'diff', ...files })).rejects.toMatchObject({
      code: 'NOT_FINITE',
      fields: { file: files[side], module: 'm' },
    });
  });

  test('of nothing with something has neither error nor cosine', async () => {
    const zero = modules('m').map((module) => ({ ...module, a: { ...module.a, values: module.a.values.map(() => 0) } }));
    const { comparison } = await run({ kind: 'diff', a: writeLora(newFile(), zero), b: writeLora(newFile(), modules('m')) });
    expect(comparison).toEqual([{ module: 'm' }]);
  });

  test('of a file with itself is nothing', async () => {
    const file = writeLora(newFile(), modules('m'));
    const { comparison } = await run({ kind: 'diff', a: file, b: file });
    expect(comparison).toEqual([{ module: 'm', relativeError: 0, cosine: expect.closeTo(1, 12) as number }]);
  });
});

test('inspect tells target, ranks and hashes', async () => {
  const output = newFile();
  const file = writeLora(newFile(), modules('transformer_blocks.0.attn.to_q'));
  const { tensorHash } = await run({
    kind: 'reset-rank',
    file,
    choice: { kind: 'fixed', rank: 1 },
    split: 'b-heavy',
    output,
    dtype: 'bf16',
    keyForm: 'comfyui',
  });
  expect(inspectLora(output)).toMatchObject({
    target: 'qwen-image',
    modules: 1,
    rank: { min: 1, max: 1 },
    dtypes: ['BF16'],
    keyForm: 'comfyui',
    tensorHash,
  });
  expect(inspectLora(output).autoV3).toBe(tensorHash!.slice(0, 12).toUpperCase());
  expect(inspectLora(output).metadata).toMatchObject({ 'modelspec.hash_sha256': `0x${tensorHash}`, ss_network_dim: '1' });
});

test('a file of as many modules as a header has room for is opened in the time that its header takes', () => {
  const file = newFile();
  const tensor = { dtype: 'F32' as const, shape: [1, 1], bytes: new Uint8Array(4) };
  const names = Array.from({ length: 40_000 }, (_, i) => [`b.${i}.lora_A.weight`, `b.${i}.lora_B.weight`]).flat();
  writeSafetensors(file, names.map((name) => ({ ...tensor, name }))); // prettier-ignore
  const timed = (work: () => unknown): number => {
    const start = performance.now();
    work();
    return performance.now() - start;
  };
  const header = timed(() => readSafetensors(file));
  expect(timed(() => expect(openLora(file).modules).toHaveLength(40_000))).toBeLessThan(3 * header);
});
