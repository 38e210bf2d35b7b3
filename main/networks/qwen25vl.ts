/**
 * Qwen2.5-VL, used as an encoder by the Coarse and Fine experts: a vision tower (qwen25vl-vision.ts) and a
 * language model (qwen25vl-decoder.ts) that reads a constant prompt with the picture in it.
 * Bai et al. 2025, https://arxiv.org/abs/2502.13923; tensors as in Qwen/Qwen-Image's text_encoder folder.
 */
import { z } from 'zod';
import type { Stage } from '../offload/stage.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { countBlocks, parseConfig, told, type Network } from './network.ts';
import { decoderStages, promptLength, readDecoder, type DecoderWeights } from './qwen25vl-decoder.ts';
import { DROPPED_TOKENS, PROMPT, type Prompt } from './qwen25vl-prompt.ts';
import { CHANNELS, MERGE, readVision, TEMPORAL_PATCH, visionStages, type VisionWeights } from './qwen25vl-vision.ts';
import type { Scope } from './scope.ts';

const size = z.int().positive();

export const qwen25vlConfig = z
  .object({
    layers: size,
    width: size,
    heads: size,
    keyValueWidth: size,
    mlpWidth: size,
    vocabulary: size,
    epsilon: z.number().positive(),
    ropeTheta: z.number().positive(),
    /** Pairs of a head's channels that turn with time, row and column. */
    ropeSections: z.tuple([size, size, size]),
    visionLayers: size,
    visionWidth: size,
    visionHeads: size,
    visionMlpWidth: size,
    patch: size,
    /** Side of an attention window in pixels, and the blocks that see the whole picture. */
    window: size,
    fullAttention: z.array(z.int().nonnegative()),
  })
  .refine(({ width, heads }) => width % (2 * heads) === 0, {
    path: ['heads'],
    error: 'expected a number that divides the width into pairs',
  })
  .refine(({ width, heads, keyValueWidth: keys }) => keys % (width / heads) === 0 && width % keys === 0, {
    path: ['keyValueWidth'],
    error: 'expected whole heads that share the queries evenly',
  })
  .refine(({ width, heads, ropeSections: [t, h, w] }) => 2 * (t + h + w) * heads === width, {
    path: ['ropeSections'],
    error: 'expected the pairs of a head in all',
  })
  .refine(({ visionWidth, visionHeads }) => visionWidth % (4 * visionHeads) === 0, {
    path: ['visionHeads'],
    error: 'expected a number that divides the width into multiples of 4',
  })
  .refine(({ window, patch }) => window >= MERGE * patch, { path: ['window'], error: 'expected at least 2 patches' });
export type Qwen25vlConfig = z.infer<typeof qwen25vlConfig>;

const size7b: Qwen25vlConfig = {
  layers: 28, width: 3584, heads: 28, keyValueWidth: 512, mlpWidth: 18944, vocabulary: 152064, epsilon: 1e-6,
  ropeTheta: 1e6, ropeSections: [16, 24, 24],
  visionLayers: 32, visionWidth: 1280, visionHeads: 16, visionMlpWidth: 3420, patch: 14, window: 112,
  fullAttention: [7, 15, 23, 31],
}; // prettier-ignore

/** transformers' Qwen2_5_VLConfig: the decoder's sizes at the top, or in text_config. */
const textJson = z.object({
  num_hidden_layers: z.int().optional(),
  hidden_size: z.int().optional(),
  num_attention_heads: z.int().optional(),
  intermediate_size: z.int().optional(),
  vocab_size: z.int().optional(),
  rms_norm_eps: z.number().default(1e-6),
  rope_theta: z.number().default(1e6),
  rope_scaling: z.object({ mrope_section: z.tuple([z.int(), z.int(), z.int()]).default([16, 24, 24]) }).optional(),
  hidden_act: z.literal('silu', 'only silu is known').default('silu'),
  use_sliding_window: z.literal(false, 'sliding windows are not known').default(false),
});
const visionJson = z.object({
  depth: z.int().optional(),
  hidden_size: z.int().optional(),
  num_heads: z.int().default(16),
  intermediate_size: z.int().optional(),
  patch_size: z.int().default(14),
  spatial_merge_size: z.literal(MERGE, 'only 2 is known').default(MERGE),
  temporal_patch_size: z.literal(TEMPORAL_PATCH, 'only 2 is known').default(TEMPORAL_PATCH),
  window_size: z.int().default(112),
  fullatt_block_indexes: z.array(z.int()).default([7, 15, 23, 31]),
});
const json = textJson.extend({ text_config: textJson.optional(), vision_config: visionJson });

interface Weights {
  readonly vision: VisionWeights;
  readonly decoder: DecoderWeights;
}

function read(scope: Scope, config: Qwen25vlConfig): Weights {
  scope.unused('lm_head.weight', [config.vocabulary, config.width]); // for generating text
  return { vision: readVision(scope.at('visual'), config), decoder: readDecoder(scope.at('model'), config) };
}

function sizes(checkpoint: Checkpoint): Partial<Qwen25vlConfig> | undefined {
  const shape = (name: string): readonly number[] | undefined => checkpoint.entry(name)?.shape;
  const embedding = shape('model.embed_tokens.weight');
  const key = shape('model.layers.0.self_attn.k_proj.weight');
  const gate = shape('model.layers.0.mlp.gate_proj.weight');
  const visionGate = shape('visual.blocks.0.mlp.gate_proj.weight');
  const patch = shape('visual.patch_embed.proj.weight');
  if (!embedding || !key || !gate || !visionGate || !patch) return undefined;
  return {
    layers: countBlocks(checkpoint, (i) => `model.layers.${i}.input_layernorm.weight`),
    width: embedding[1] ?? 0,
    keyValueWidth: key[0] ?? 0,
    mlpWidth: gate[0] ?? 0,
    vocabulary: embedding[0] ?? 0,
    visionLayers: countBlocks(checkpoint, (i) => `visual.blocks.${i}.norm1.weight`),
    visionWidth: visionGate[1] ?? 0,
    visionMlpWidth: visionGate[0] ?? 0,
    patch: patch[4] ?? 0,
  };
}

function fromJson(value: unknown): Partial<Qwen25vlConfig> {
  const config = parseConfig(json, value);
  const { vision_config: vision } = config;
  const text = config.text_config ?? config;
  return told<Qwen25vlConfig>({
    layers: text.num_hidden_layers,
    width: text.hidden_size,
    heads: text.num_attention_heads,
    mlpWidth: text.intermediate_size,
    vocabulary: text.vocab_size,
    epsilon: text.rms_norm_eps,
    ropeTheta: text.rope_theta,
    ropeSections: text.rope_scaling?.mrope_section ?? [16, 24, 24],
    visionLayers: vision.depth,
    visionWidth: vision.hidden_size,
    visionHeads: vision.num_heads,
    visionMlpWidth: vision.intermediate_size,
    patch: vision.patch_size,
    window: vision.window_size,
    fullAttention: vision.fullatt_block_indexes,
  });
}

export const qwen25vl: Network<Qwen25vlConfig> = {
  id: 'qwen25vl',
  title: 'Qwen2.5-VL encoder',
  published: { 'qwen2.5-vl-7b': size7b },
  sizes,
  schema: qwen25vlConfig,
  fromJson,
  read,
};

/** A size at which a picture is shown to the network, and the name of what comes out: 'low', 'high'. */
export interface Resolution {
  readonly name: string;
  /** Pixels; a multiple of 2 patches. */
  readonly side: number;
}

export interface Qwen25vlStages {
  readonly stages: readonly Stage[];
  /** Values of a token. */
  readonly width: number;
  /** Values of a patch. */
  readonly patchValues: number;
  /** What goes in and comes out of each resolution: patches of a picture, tokens. */
  readonly pictures: readonly (Resolution & { readonly patches: number; readonly tokens: number })[];
}

/**
 * Stages from state `patches` [n, patches, 3 * 2 * 14^2] to a result by each resolution's name [n, tokens,
 * width]: the hidden states after the final norm. The pictures of an image at all resolutions lie one after
 * another in the state, so that one read of the weights does for all.
 */
export function qwen25vlStages(
  scope: Scope,
  config: Qwen25vlConfig,
  resolutions: readonly Resolution[],
  prompt: Prompt = PROMPT,
): Qwen25vlStages {
  const { vision, decoder } = read(scope, config);
  const { width, patch } = config;
  let first = 0;
  const pictures = resolutions.map(({ name, side }) => {
    const grid = side / patch / MERGE;
    if (!Number.isInteger(grid) || grid < 1) throw new RangeError(`a picture of ${side} pixels is no whole number of tokens`);
    const patches = (MERGE * grid) ** 2;
    const picture = { name, side, grid, first, patches };
    first += grid * grid;
    return { ...picture, tokens: promptLength(picture, prompt) - DROPPED_TOKENS };
  });
  return {
    stages: [...visionStages(vision, config, pictures), ...decoderStages(decoder, config, pictures, prompt)],
    width,
    patchValues: CHANNELS * TEMPORAL_PATCH * patch * patch,
    pictures: pictures.map(({ name, side, patches, tokens }) => ({ name, side, patches, tokens })),
  };
}
