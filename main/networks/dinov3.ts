/**
 * DINOv3 ViT: pixels to the class token after the final norm.
 * Siméoni et al. 2025, https://arxiv.org/abs/2508.10104; tensors as in facebook/dinov3-vit7b16.
 * Pre-norm transformer with layer scale, SwiGLU, and rotary positions on the patch tokens alone.
 */
import { z } from 'zod';
import type { TensorRange } from '../contract/tensor.ts';
import { IMAGES, type Graph, type Value } from '../onnx/graph.ts';
import type { Port, Stage } from '../offload/stage.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { countBlocks, parseConfig, told, type EncoderStages, type Network } from './network.ts';
import { linear, norm, type Linear, type Norm, type Scope } from './scope.ts';

export const dinov3Config = z
  .object({
    layers: z.int().positive(),
    width: z.int().positive(),
    heads: z.int().positive(),
    mlpWidth: z.int().positive(),
    patch: z.int().positive(),
    registers: z.int().nonnegative(),
    imageSize: z.int().positive(),
    ropeTheta: z.number().positive(),
    epsilon: z.number().positive(),
  })
  .refine(({ width, heads }) => width % (4 * heads) === 0, {
    path: ['heads'],
    error: 'expected a number that divides the width into multiples of 4',
  })
  .refine(({ imageSize, patch }) => imageSize % patch === 0, { path: ['imageSize'], error: 'expected a multiple of the patch' });
export type Dinov3Config = z.infer<typeof dinov3Config>;

const vit7b: Dinov3Config = {
  layers: 40, width: 4096, heads: 32, mlpWidth: 8192, patch: 16, registers: 4, imageSize: 224, ropeTheta: 100, epsilon: 1e-5,
}; // prettier-ignore

/** transformers' DINOv3ViTConfig. The variants with a plain MLP or with biases on q, k, v are other layouts. */
const json = z.object({
  hidden_size: z.int().optional(),
  num_hidden_layers: z.int().optional(),
  num_attention_heads: z.int(),
  intermediate_size: z.int().optional(),
  num_register_tokens: z.int().optional(),
  patch_size: z.int().optional(),
  image_size: z.int().default(224),
  rope_theta: z.number().default(100),
  layer_norm_eps: z.number().default(1e-5),
  hidden_act: z.literal('silu', 'only silu is known').default('silu'),
  use_gated_mlp: z.literal(true, 'only the gated MLP is known').default(true),
});

interface Layer {
  readonly norm1: Norm;
  readonly q: TensorRange;
  readonly k: TensorRange;
  readonly v: TensorRange;
  readonly out: Linear;
  readonly scale1: TensorRange;
  readonly norm2: Norm;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
  readonly scale2: TensorRange;
}
interface Weights {
  readonly patch: Linear;
  readonly classToken: TensorRange;
  readonly registers: TensorRange | undefined;
  readonly layers: readonly Layer[];
  readonly norm: Norm;
}

function layer(scope: Scope, { width, mlpWidth }: Dinov3Config): Layer {
  const attention = scope.at('attention');
  const mlp = scope.at('mlp');
  const square = (name: string): TensorRange => attention.at(name).tensor('weight', [width, width]);
  return {
    norm1: norm(scope.at('norm1'), width),
    q: square('q_proj'),
    k: square('k_proj'),
    v: square('v_proj'),
    out: linear(attention.at('o_proj'), width, width),
    scale1: scope.tensor('layer_scale1.lambda1', [width]),
    norm2: norm(scope.at('norm2'), width),
    gate: linear(mlp.at('gate_proj'), width, mlpWidth),
    up: linear(mlp.at('up_proj'), width, mlpWidth),
    down: linear(mlp.at('down_proj'), mlpWidth, width),
    scale2: scope.tensor('layer_scale2.lambda1', [width]),
  };
}

function read(scope: Scope, config: Dinov3Config): Weights {
  const { width, patch, registers } = config;
  const embeddings = scope.at('embeddings');
  embeddings.unused('mask_token', [1, 1, width]); // for training
  return {
    patch: {
      weight: embeddings.at('patch_embeddings').tensor('weight', [width, 3, patch, patch]),
      bias: embeddings.at('patch_embeddings').tensor('bias', [width]),
    },
    classToken: embeddings.tensor('cls_token', [1, 1, width]),
    registers: readRegisters(embeddings, registers, width),
    layers: Array.from({ length: config.layers }, (_, i) => layer(scope.at('layer').at(i), config)),
    norm: norm(scope.at('norm'), width),
  };
}

/** A model without registers still has the tensor, with no rows. */
function readRegisters(embeddings: Scope, count: number, width: number): TensorRange | undefined {
  if (count > 0) return embeddings.tensor('register_tokens', [1, count, width]);
  embeddings.unused('register_tokens', [1, 0, width]);
  return undefined;
}

function sizes(checkpoint: Checkpoint): Partial<Dinov3Config> | undefined {
  const patch = checkpoint.entry('embeddings.patch_embeddings.weight')?.shape;
  const gate = checkpoint.entry('layer.0.mlp.gate_proj.weight')?.shape;
  const registers = checkpoint.entry('embeddings.register_tokens')?.shape;
  if (!patch || !gate || !registers) return undefined;
  const layers = countBlocks(checkpoint, (i) => `layer.${i}.norm1.weight`);
  return { layers, width: patch[0] ?? 0, mlpWidth: gate[0] ?? 0, patch: patch[2] ?? 0, registers: registers[1] ?? 0 };
}

function fromJson(value: unknown): Partial<Dinov3Config> {
  const config = parseConfig(json, value);
  return told<Dinov3Config>({
    layers: config.num_hidden_layers,
    width: config.hidden_size,
    heads: config.num_attention_heads,
    mlpWidth: config.intermediate_size,
    patch: config.patch_size,
    imageSize: config.image_size,
    registers: config.num_register_tokens,
    ropeTheta: config.rope_theta,
    epsilon: config.layer_norm_eps,
  });
}

export const dinov3: Network<Dinov3Config> = {
  id: 'dinov3',
  title: 'DINOv3 ViT',
  published: { 'dinov3-7b': vit7b },
  sizes,
  schema: dinov3Config,
  fromJson,
  read,
};

/**
 * The angle of every token and pair of channels. A patch's row and column, as centres in [-1, 1], are
 * each turned by 2 pi / theta^(4 j / h) for j < h / 4; class and register tokens are not turned.
 * @returns cos and sin, [prefix + patches, h / 2], row-major, as transformers' DINOv3ViTRopePositionEmbedding
 */
export function ropeTables(
  grid: number,
  prefix: number,
  headWidth: number,
  theta: number,
): { cos: Float32Array; sin: Float32Array } {
  const quarter = headWidth / 4;
  const pairs = headWidth / 2;
  const cos = new Float32Array((prefix + grid * grid) * pairs).fill(1);
  const sin = new Float32Array((prefix + grid * grid) * pairs);
  const centre = (i: number): number => (2 * (i + 0.5)) / grid - 1;
  for (let patch = 0; patch < grid * grid; patch++) {
    const position = [centre(Math.floor(patch / grid)), centre(patch % grid)];
    for (let pair = 0; pair < pairs; pair++) {
      const axis = position[Math.floor(pair / quarter)] ?? 0;
      const angle = (2 * Math.PI * axis) / theta ** ((4 * (pair % quarter)) / headWidth);
      const at = (prefix + patch) * pairs + pair;
      cos[at] = Math.cos(angle);
      sin[at] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** @returns stages from state `pixels` [n, 3, S, S] to `embedding` [n, width] */
export function dinov3Stages(scope: Scope, config: Dinov3Config): EncoderStages {
  const weights = read(scope, config);
  const { width, imageSize, epsilon } = config;
  const grid = Math.floor(imageSize / config.patch);
  const tokens = 1 + config.registers + grid * grid;
  const pixels = { name: 'pixels', value: (g: Graph) => g.input('pixels', [IMAGES, 3, imageSize, imageSize]) };
  const hidden = { name: 'hidden', value: (g: Graph) => g.input('hidden', [IMAGES, tokens, width]) };
  const embed: Stage = {
    id: 'dinov3 embeddings',
    takes: [pixels],
    build: (g, take) => {
      const patches = g.patchEmbed(take('pixels'), weights.patch.weight, weights.patch.bias);
      const prefixes = [weights.classToken, ...(weights.registers ? [weights.registers] : [])];
      const rows = prefixes.map((token) => g.repeat(g.weight(token), patches));
      return { state: { hidden: g.concat([...rows, patches], 1) } };
    },
  };
  const turned = rotaryOf(config, grid);
  const blocks = weights.layers.flatMap((layer, i) => layerStages(layer, `dinov3 layer ${i}`, hidden, turned, config));
  const last: Stage = {
    id: 'dinov3 final norm',
    takes: [hidden],
    build: (g, take) => ({
      emit: { embedding: g.layerNorm(g.row(take('hidden'), 0), weights.norm.weight, weights.norm.bias, epsilon) },
    }),
  };
  return { stages: [embed, ...blocks, last], imageSize, width };
}

/** Turns queries or keys [n, tokens, width] by their positions. */
type Rotary = (g: Graph) => (x: Value) => Value;

function rotaryOf({ width, heads, registers, ropeTheta }: Dinov3Config, grid: number): Rotary {
  const headWidth = width / heads;
  const tables = ropeTables(grid, 1 + registers, headWidth, ropeTheta);
  const shape = [1 + registers + grid * grid, headWidth / 2];
  return (g) => {
    const [cos, sin] = [g.constant(tables.cos, shape), g.constant(tables.sin, shape)];
    return (x) => g.rope(x, cos, sin, g.ownOf(heads));
  };
}

function layerStages(w: Layer, id: string, hidden: Port, rotary: Rotary, { epsilon, heads }: Dinov3Config): Stage[] {
  const attend: Stage = {
    id: `${id} attention`,
    takes: [hidden],
    parts: heads,
    build: (g, take) => {
      const normed = g.layerNorm(take('hidden'), w.norm1.weight, w.norm1.bias, epsilon);
      const turn = rotary(g);
      const [q, k, v] = [turn(g.spread(normed, w.q)), turn(g.spread(normed, w.k)), g.spread(normed, w.v)];
      const attended = g.collect(g.attention(q, k, v, g.ownOf(heads)), w.out.weight, w.out.bias);
      return { state: { hidden: g.residual(take('hidden'), g.mul(attended, g.weight(w.scale1))) } };
    },
  };
  const transform: Stage = {
    id: `${id} mlp`,
    takes: [hidden],
    parts: w.down.weight.shape[1] ?? 1,
    build: (g, take) => {
      const normed = g.layerNorm(take('hidden'), w.norm2.weight, w.norm2.bias, epsilon);
      const gate = g.spread(normed, w.gate.weight, w.gate.bias);
      const up = g.spread(normed, w.up.weight, w.up.bias);
      const down = g.collect(g.swiglu(gate, up), w.down.weight, w.down.bias);
      return { state: { hidden: g.residual(take('hidden'), g.mul(down, g.weight(w.scale2))) } };
    },
  };
  return [attend, transform];
}
