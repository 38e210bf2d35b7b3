import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { i2l } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { qwen25vl } from '../../main/networks/qwen25vl.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import type { Layout } from '../../main/weights/fingerprint.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { sparse } from '../models/sparse-models.ts';

/**
 * Networks of the published widths and few layers, their weights mostly holes in files: each stage takes the memory that
 * it takes in the published network, and none takes its time or its room on the disk.
 */
/** So many layers that threads which share them pay. */
const dino = { ...published(dinov3, 'dinov3-7b'), layers: 2 };
const siglip = { ...published(siglip2, 'siglip2-g384'), layers: 1 };
const qwen = { ...published(qwen25vl, 'qwen2.5-vl-7b'), layers: 1, visionLayers: 2, fullAttention: [1] };

/** So many blocks that two lanes pay. */
const STYLE_BLOCKS = 8;
const RESIDUAL_BLOCKS = 2;

const dinoConfig = { model_type: 'dinov3_vit', num_attention_heads: dino.heads, image_size: dino.imageSize };
const siglipConfig = { model_type: 'siglip_vision_model', num_attention_heads: siglip.heads };

/**
 * Encoders of so many layers whose weights are random: of weights that are the same the runtime lays out one copy, so
 * that those of holes take no memory. @returns the folder
 */
export function makeRandomEncoders(folder: string, layers: number): string {
  const random = (path: string, layout: Layout): void => writeSynthetic(path, layout, { seed: 1 });
  write(folder, 'dinov3-7b', layoutOf(dinov3, { ...dino, layers }), dinoConfig, random);
  write(folder, 'siglip2-g384', layoutOf(siglip2, { ...siglip, layers }), siglipConfig, random);
  return folder;
}

/** Makes them in sub-folders by their ids. @returns the folder */
export function makeWideModels(folder: string): string {
  write(folder, 'dinov3-7b', layoutOf(dinov3, dino), dinoConfig);
  write(folder, 'siglip2-g384', layoutOf(siglip2, siglip), siglipConfig);
  write(folder, 'qwen2.5-vl-7b', layoutOf(qwen25vl, qwen), {
    num_attention_heads: qwen.heads,
    rope_scaling: { mrope_section: qwen.ropeSections },
    vision_config: { num_heads: qwen.visionHeads, fullatt_block_indexes: qwen.fullAttention },
  });
  write(folder, 'qwen-image-i2l-style', layoutOf(i2l, { ...published(i2l, 'qwen-image-i2l-style'), blocks: STYLE_BLOCKS }));
  for (const id of ['qwen-image-i2l-coarse', 'qwen-image-i2l-fine'])
    write(folder, id, layoutOf(i2l, { ...published(i2l, id), blocks: RESIDUAL_BLOCKS }));
  return folder;
}

function published<Config>({ published: known }: Network<Config>, id: string): Config {
  const config = known[id];
  if (config === undefined) throw new Error(`${id} is not published`);
  return config;
}

function holes(path: string, layout: Layout): void {
  sparse(path, layout, 'BF16', { synthetic: 'zeros; not a trained model' });
}

function write(folder: string, id: string, layout: Layout, config: object = {}, make = holes): void {
  const path = join(folder, id, 'model.safetensors');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(join(dirname(path), 'config.json'), JSON.stringify(config));
  make(path, layout);
}
