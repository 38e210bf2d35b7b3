/**
 * Qwen2.5-VL, used as an encoder by the Coarse and Fine experts: a vision tower and a decoder-only
 * language model. Bai et al. 2025, https://arxiv.org/abs/2502.13923; tensors as in Qwen/Qwen-Image's
 * text_encoder folder. Here is its layout, by which files are told; its stages are not written yet.
 */
import { z } from 'zod';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { countBlocks, parseConfig, type Network } from './network.ts';
import { linear, type Scope } from './scope.ts';

const qwen25vlConfig = z.object({
  layers: z.int().positive(),
  width: z.int().positive(),
  keyValueWidth: z.int().positive(),
  mlpWidth: z.int().positive(),
  vocabulary: z.int().positive(),
  visionLayers: z.int().positive(),
  visionWidth: z.int().positive(),
  visionMlpWidth: z.int().positive(),
});
export type Qwen25vlConfig = z.infer<typeof qwen25vlConfig>;

const size7b: Qwen25vlConfig = {
  layers: 28, width: 3584, keyValueWidth: 512, mlpWidth: 18944, vocabulary: 152064, visionLayers: 32, visionWidth: 1280, visionMlpWidth: 3420,
}; // prettier-ignore

const PATCH = 14;
const TEMPORAL_PATCH = 2;
/** Patches that the merger joins into one token: 2 x 2. */
const MERGED = 4;

function read(scope: Scope, config: Qwen25vlConfig): void {
  const { width, vocabulary } = config;
  scope.tensor('model.embed_tokens.weight', [vocabulary, width]);
  for (let i = 0; i < config.layers; i++) readDecoderLayer(scope.at('model.layers').at(i), config);
  scope.tensor('model.norm.weight', [width]);
  scope.unused('lm_head.weight', [vocabulary, width]); // for generating text
  readVision(scope.at('visual'), config);
}

function readDecoderLayer(scope: Scope, { width, keyValueWidth, mlpWidth }: Qwen25vlConfig): void {
  scope.tensor('input_layernorm.weight', [width]);
  scope.tensor('post_attention_layernorm.weight', [width]);
  const attention = scope.at('self_attn');
  linear(attention.at('q_proj'), width, width);
  linear(attention.at('k_proj'), width, keyValueWidth);
  linear(attention.at('v_proj'), width, keyValueWidth);
  attention.tensor('o_proj.weight', [width, width]);
  scope.tensor('mlp.gate_proj.weight', [mlpWidth, width]);
  scope.tensor('mlp.up_proj.weight', [mlpWidth, width]);
  scope.tensor('mlp.down_proj.weight', [width, mlpWidth]);
}

function readVision(scope: Scope, { visionLayers, visionWidth, visionMlpWidth, width }: Qwen25vlConfig): void {
  scope.tensor('patch_embed.proj.weight', [visionWidth, 3, TEMPORAL_PATCH, PATCH, PATCH]);
  for (let i = 0; i < visionLayers; i++) {
    const block = scope.at('blocks').at(i);
    block.tensor('norm1.weight', [visionWidth]);
    block.tensor('norm2.weight', [visionWidth]);
    linear(block.at('attn.qkv'), visionWidth, 3 * visionWidth);
    linear(block.at('attn.proj'), visionWidth, visionWidth);
    linear(block.at('mlp.gate_proj'), visionWidth, visionMlpWidth);
    linear(block.at('mlp.up_proj'), visionWidth, visionMlpWidth);
    linear(block.at('mlp.down_proj'), visionMlpWidth, visionWidth);
  }
  const merger = scope.at('merger');
  merger.tensor('ln_q.weight', [visionWidth]);
  linear(merger.at('mlp.0'), MERGED * visionWidth, MERGED * visionWidth);
  linear(merger.at('mlp.2'), MERGED * visionWidth, width);
}

function sizes(checkpoint: Checkpoint): Partial<Qwen25vlConfig> | undefined {
  const shape = (name: string): readonly number[] | undefined => checkpoint.entry(name)?.shape;
  const embedding = shape('model.embed_tokens.weight');
  const key = shape('model.layers.0.self_attn.k_proj.weight');
  const gate = shape('model.layers.0.mlp.gate_proj.weight');
  const visionGate = shape('visual.blocks.0.mlp.gate_proj.weight');
  if (!embedding || !key || !gate || !visionGate) return undefined;
  return {
    layers: countBlocks(checkpoint, (i) => `model.layers.${i}.input_layernorm.weight`),
    width: embedding[1] ?? 0,
    keyValueWidth: key[0] ?? 0,
    mlpWidth: gate[0] ?? 0,
    vocabulary: embedding[0] ?? 0,
    visionLayers: countBlocks(checkpoint, (i) => `visual.blocks.${i}.norm1.weight`),
    visionWidth: visionGate[1] ?? 0,
    visionMlpWidth: visionGate[0] ?? 0,
  };
}

export const qwen25vl: Network<Qwen25vlConfig> = {
  id: 'qwen25vl',
  title: 'Qwen2.5-VL encoder',
  published: { 'qwen2.5-vl-7b': size7b },
  sizes,
  schema: qwen25vlConfig,
  fromJson: (value) => parseConfig(z.object({}), value),
  read,
};
