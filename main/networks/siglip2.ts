/**
 * SigLIP2's vision tower with its attention-pooling head: pixels to one embedding an image.
 * Tschannen et al. 2025, https://arxiv.org/abs/2502.14786; tensors as in google/siglip2-giant-opt-patch16-384,
 * without the 'vision_model.' prefix. Pre-norm transformer, learned positions, tanh GELU.
 */
import { z } from 'zod';
import { rowsOf, type TensorRange } from '../contract/tensor.ts';
import { IMAGES, type Graph, type Value } from '../onnx/graph.ts';
import type { Port, Stage } from '../offload/stage.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { countBlocks, gridSide, parseConfig, told, type EncoderStages, type Network } from './network.ts';
import { linear, norm, type Linear, type Norm, type Scope } from './scope.ts';

export const siglip2Config = z
  .object({
    layers: z.int().positive(),
    width: z.int().positive(),
    heads: z.int().positive(),
    mlpWidth: z.int().positive(),
    patch: z.int().positive(),
    imageSize: z.int().positive(),
    epsilon: z.number().positive(),
  })
  .refine(({ width, heads }) => width % heads === 0, { path: ['heads'], error: 'expected a number that divides the width' });
export type Siglip2Config = z.infer<typeof siglip2Config>;

const giant: Siglip2Config = { layers: 40, width: 1536, heads: 16, mlpWidth: 6144, patch: 16, imageSize: 384, epsilon: 1e-6 };

/** transformers' SiglipVisionConfig. */
const json = z.object({
  hidden_size: z.int().optional(),
  num_hidden_layers: z.int().optional(),
  num_attention_heads: z.int(),
  intermediate_size: z.int().optional(),
  image_size: z.int().optional(),
  patch_size: z.int().optional(),
  layer_norm_eps: z.number().default(1e-6),
  hidden_act: z.literal('gelu_pytorch_tanh', 'only gelu_pytorch_tanh is known').default('gelu_pytorch_tanh'),
});

interface Attention {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly out: Linear;
}
interface Mlp {
  readonly fc1: Linear;
  readonly fc2: Linear;
}
interface Layer {
  readonly norm1: Norm;
  readonly attention: Attention;
  readonly norm2: Norm;
  readonly mlp: Mlp;
}
interface Weights {
  readonly patch: Linear;
  readonly positions: TensorRange;
  readonly layers: readonly Layer[];
  readonly postNorm: Norm;
  readonly head: { readonly probe: TensorRange; readonly attention: Attention; readonly norm: Norm; readonly mlp: Mlp };
}

function attention(scope: Scope, width: number): Attention {
  const part = (name: string): Linear => linear(scope.at(name), width, width);
  return { q: part('q_proj'), k: part('k_proj'), v: part('v_proj'), out: part('out_proj') };
}

/** torch's MultiheadAttention keeps q, k and v in one matrix: thirds of its rows. */
function packedAttention(scope: Scope, width: number): Attention {
  const weight = scope.tensor('in_proj_weight', [3 * width, width]);
  const bias = scope.tensor('in_proj_bias', [3 * width]);
  const third = (i: number): Linear => ({ weight: rowsOf(weight, i * width, width), bias: rowsOf(bias, i * width, width) });
  return { q: third(0), k: third(1), v: third(2), out: linear(scope.at('out_proj'), width, width) };
}

function mlp(scope: Scope, { width, mlpWidth }: Siglip2Config): Mlp {
  return { fc1: linear(scope.at('fc1'), width, mlpWidth), fc2: linear(scope.at('fc2'), mlpWidth, width) };
}

function layer(scope: Scope, config: Siglip2Config): Layer {
  return {
    norm1: norm(scope.at('layer_norm1'), config.width),
    attention: attention(scope.at('self_attn'), config.width),
    norm2: norm(scope.at('layer_norm2'), config.width),
    mlp: mlp(scope.at('mlp'), config),
  };
}

function read(scope: Scope, config: Siglip2Config): Weights {
  const { width, patch, imageSize } = config;
  const embeddings = scope.at('embeddings');
  const head = scope.at('head');
  return {
    patch: {
      weight: embeddings.at('patch_embedding').tensor('weight', [width, 3, patch, patch]),
      bias: embeddings.at('patch_embedding').tensor('bias', [width]),
    },
    positions: embeddings.tensor('position_embedding.weight', [(imageSize / patch) ** 2, width]),
    layers: Array.from({ length: config.layers }, (_, i) => layer(scope.at('encoder.layers').at(i), config)),
    postNorm: norm(scope.at('post_layernorm'), width),
    head: {
      probe: head.tensor('probe', [1, 1, width]),
      attention: packedAttention(head.at('attention'), width),
      norm: norm(head.at('layernorm'), width),
      mlp: mlp(head.at('mlp'), config),
    },
  };
}

function sizes(checkpoint: Checkpoint): Partial<Siglip2Config> | undefined {
  const patch = checkpoint.entry('embeddings.patch_embedding.weight')?.shape;
  const positions = checkpoint.entry('embeddings.position_embedding.weight')?.shape;
  const fc1 = checkpoint.entry('encoder.layers.0.mlp.fc1.weight')?.shape;
  const side = gridSide(positions?.[0] ?? 0);
  if (!patch || !fc1 || !side || !checkpoint.has('head.probe')) return undefined;
  const [width = 0, , size = 0] = patch;
  const layers = countBlocks(checkpoint, (i) => `encoder.layers.${i}.layer_norm1.weight`);
  return { layers, width, mlpWidth: fc1[0] ?? 0, patch: size, imageSize: side * size };
}

function fromJson(value: unknown): Partial<Siglip2Config> {
  const config = parseConfig(json, value);
  return told<Siglip2Config>({
    layers: config.num_hidden_layers,
    width: config.hidden_size,
    heads: config.num_attention_heads,
    mlpWidth: config.intermediate_size,
    patch: config.patch_size,
    imageSize: config.image_size,
    epsilon: config.layer_norm_eps,
  });
}

export const siglip2: Network<Siglip2Config> = {
  id: 'siglip2',
  title: 'SigLIP2 vision tower',
  published: { 'siglip2-g384': giant },
  sizes,
  schema: siglip2Config,
  fromJson,
  read,
};

/** @returns stages from state `pixels` [n, 3, S, S] to `embedding` [n, width] */
export function siglip2Stages(scope: Scope, config: Siglip2Config): EncoderStages {
  const weights = read(scope, config);
  const { width, imageSize } = config;
  const tokens = (imageSize / config.patch) ** 2;
  const pixels = { name: 'pixels', value: (g: Graph) => g.input('pixels', [IMAGES, 3, imageSize, imageSize]) };
  const hidden = { name: 'hidden', value: (g: Graph) => g.input('hidden', [IMAGES, tokens, width]) };
  const embed: Stage = {
    id: 'siglip2 embeddings',
    takes: [pixels],
    build: (g, take) => {
      const patches = g.patchEmbed(take('pixels'), weights.patch.weight, weights.patch.bias);
      return { state: { hidden: g.add(patches, g.weight(weights.positions)) } };
    },
  };
  const blocks = weights.layers.flatMap((layer, i) => layerStages(layer, `siglip2 layer ${i}`, hidden, config));
  const pool: Stage = {
    id: 'siglip2 pooling head',
    takes: [hidden],
    isSensitive: true,
    build: (g, take) => ({ emit: { embedding: pooling(g, take('hidden'), weights, config) } }),
  };
  return { stages: [embed, ...blocks, pool], imageSize, width };
}

function layerStages(w: Layer, id: string, hidden: Port, { epsilon, heads }: Siglip2Config): Stage[] {
  const attend: Stage = {
    id: `${id} attention`,
    takes: [hidden],
    parts: heads,
    build: (g, take) => {
      const normed = g.layerNorm(take('hidden'), w.norm1.weight, w.norm1.bias, epsilon);
      return { state: { hidden: g.residual(take('hidden'), multiHead(g, w.attention, normed, normed, heads)) } };
    },
  };
  const transform: Stage = {
    id: `${id} mlp`,
    takes: [hidden],
    parts: w.mlp.fc2.weight.shape[1] ?? 1,
    build: (g, take) => {
      const normed = g.layerNorm(take('hidden'), w.norm2.weight, w.norm2.bias, epsilon);
      return { state: { hidden: g.residual(take('hidden'), feedForward(g, w.mlp, normed)) } };
    },
  };
  return [attend, transform];
}

function multiHead(g: Graph, w: Attention, query: Value, x: Value, heads: number): Value {
  const q = g.spread(query, w.q.weight, w.q.bias);
  const k = g.spread(x, w.k.weight, w.k.bias);
  const v = g.spread(x, w.v.weight, w.v.bias);
  return g.collect(g.attention(q, k, v, g.ownOf(heads)), w.out.weight, w.out.bias);
}

function feedForward(g: Graph, w: Mlp, x: Value): Value {
  return g.collect(g.gelu(g.spread(x, w.fc1.weight, w.fc1.bias)), w.fc2.weight, w.fc2.bias);
}

/** One learned query, the probe, attends to all tokens; an MLP with a residual follows. */
function pooling(g: Graph, hidden: Value, { head, postNorm }: Weights, { width, heads, epsilon }: Siglip2Config): Value {
  const normed = g.layerNorm(hidden, postNorm.weight, postNorm.bias, epsilon);
  // Twice: onnxruntime multiplies one lone row otherwise than several, and an image's embedding
  // would depend on whether others were encoded with it.
  const probe = g.repeat(g.concat([g.weight(head.probe), g.weight(head.probe)], 1), normed);
  const pooled = multiHead(g, head.attention, probe, normed, heads);
  const transformed = feedForward(g, head.mlp, g.layerNorm(pooled, head.norm.weight, head.norm.bias, epsilon));
  return g.reshape(g.row(g.add(pooled, transformed), 0), [IMAGES, width]);
}
