import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { dinov3, type Dinov3Config } from '../../main/networks/dinov3.ts';
import { i2l, type I2lConfig } from '../../main/networks/i2l.ts';
import { layoutOf } from '../../main/networks/network.ts';
import { siglip2, type Siglip2Config } from '../../main/networks/siglip2.ts';
import type { Layout } from '../../main/weights/fingerprint.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { float32Bytes } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';

/**
 * Models of a few hundred kilobytes with random weights from a fixed seed: a create with them computes for
 * milliseconds, so that what is left to test is the way around the computation.
 */
export const siglip2Tiny: Siglip2Config = {
  layers: 2, width: 24, heads: 2, mlpWidth: 48, patch: 16, imageSize: 32, epsilon: 1e-6,
}; // prettier-ignore
export const dinov3Tiny: Dinov3Config = {
  layers: 2, width: 32, heads: 2, mlpWidth: 48, patch: 16, registers: 2, imageSize: 32, ropeTheta: 100, epsilon: 1e-5,
}; // prettier-ignore
export const styleTiny: I2lConfig = {
  target: 'qwen-image',
  hidden: 24,
  blocks: 2,
  width: siglip2Tiny.width + dinov3Tiny.width,
  compress: 2,
  rank: 4,
};

/** Modules of one block of the target. */
export const MODULES_PER_BLOCK = 12;
export const TINY_MODULES = styleTiny.blocks * MODULES_PER_BLOCK;

export interface TinyModel {
  readonly id: 'siglip2-g384' | 'dinov3-7b' | 'qwen-image-i2l-style';
  /** Where a download of its hub repository lays it down. */
  readonly published: string;
  readonly layout: Layout;
  /** What the tensors' shapes don't say. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** @param style sizes of the expert; a larger one writes for longer */
export function tinyModels(style: I2lConfig = styleTiny): readonly TinyModel[] {
  return [
    {
      id: 'siglip2-g384',
      published: 'General-Image-Encoders/SigLIP2-G384/model.safetensors',
      layout: layoutOf(siglip2, siglip2Tiny),
      config: { model_type: 'siglip_vision_model', num_attention_heads: siglip2Tiny.heads },
    },
    {
      id: 'dinov3-7b',
      published: 'General-Image-Encoders/DINOv3-7B/model.safetensors',
      layout: layoutOf(dinov3, dinov3Tiny),
      config: { model_type: 'dinov3_vit', num_attention_heads: dinov3Tiny.heads, image_size: dinov3Tiny.imageSize },
    },
    {
      id: 'qwen-image-i2l-style',
      published: 'Qwen-Image-i2L/Qwen-Image-i2L-Style.safetensors',
      layout: layoutOf(i2l, style),
      config: { rank: style.rank },
    },
  ];
}

const SEED = 11;

/** The models in sub-folders by their ids: siglip2-g384/model.safetensors with its config.json, and so on. */
export function makeTinyModels(folder: string, style?: I2lConfig): string {
  return writeModels(folder, style, ({ id }) => join(id, 'model.safetensors'));
}

/** The same models where downloads of the hub's repositories lay them down. */
export function makePublishedModels(folder: string): string {
  return writeModels(folder, undefined, ({ published }) => published);
}

/** The path of one of them within {@link makeTinyModels}' folder. */
export function modelFile(folder: string, id: TinyModel['id']): string {
  return join(folder, id, 'model.safetensors');
}

function writeModels(folder: string, style: I2lConfig | undefined, place: (model: TinyModel) => string): string {
  for (const [at, model] of tinyModels(style).entries()) {
    const path = join(folder, place(model));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(join(dirname(path), 'config.json'), `${JSON.stringify(model.config)}\n`);
    writeRandom(path, model.layout, SEED + at);
  }
  return folder;
}

/** As weights/synthetic.ts, without its stock of a million values, which would take longer than the test. */
export function writeRandom(path: string, layout: Layout, seed: number): void {
  const next = mulberry32(seed);
  const tensors = layout.map(({ name, shape }) => {
    const [count = 1, inputs = 1] = [shape.reduce((a, b) => a * b, 1), shape.slice(1).reduce((a, b) => a * b, 1)];
    const scale = shape.length === 1 && /norm|lambda/.test(name) && !name.endsWith('bias');
    const [centre, spread] = shape.length > 1 ? [0, Math.sqrt(3 / inputs)] : scale ? [1, 0.1] : [0, 0.02];
    const values = Float32Array.from({ length: count }, () => centre + spread * (2 * next() - 1));
    return { name, shape, dtype: 'F32' as const, bytes: float32Bytes(values) };
  });
  writeSafetensors(path, tensors, { synthetic: `random weights, seed ${seed}; not a trained model` });
}
