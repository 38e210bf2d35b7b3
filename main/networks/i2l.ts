/**
 * The image-to-LoRA decoder ("expert"): an image's embedding to one LoRA, a pair of two-layer linear maps
 * for every module of the target. No bias, no activation between: proj_out(proj_in(x) + residual), where the
 * residual of a block is a two-layer linear map of Qwen2.5-VL's tokens.
 * As DiffSynth-Studio's QwenImageImage2LoRAModel and ZImageImage2LoRAModel compute it. Here is what its file
 * holds; i2l-stages.ts computes.
 */
import { z } from 'zod';
import { TARGETS, type ExpertName } from '../contract/experts.ts';
import type { TensorRange } from '../contract/tensor.ts';
import { qwenImage, targetBlocks, zImage, type Target, type TargetBlock, type TargetModule } from '../lora/targets.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { countBlocks, parseConfig, told, type Network } from './network.ts';
import type { Scope } from './scope.ts';

export const i2lConfig = z.object({
  target: z.enum(TARGETS),
  /** The target's width and number of blocks. */
  hidden: z.int().positive(),
  blocks: z.int().positive(),
  /** Only Z-Image: width of its feed-forward layers, and blocks of each refiner. */
  feedForward: z.int().positive().optional(),
  refiners: z.int().positive().optional(),
  /** Values of the embedding, and between the two layers. */
  width: z.int().positive(),
  compress: z.int().positive(),
  rank: z.int().positive(),
  /** Tokens of Qwen-VL that take part: their number, their width, the width that they are reduced to. */
  residual: z.object({ tokens: z.int().positive(), width: z.int().positive(), reduced: z.int().positive() }).optional(),
});
export type I2lConfig = z.infer<typeof i2lConfig>;

const qwen = { target: 'qwen-image', hidden: 3072, blocks: 60, width: 5632, rank: 4 } as const;

/** Tokens of Qwen2.5-VL: those of a picture at low or at high resolution, and seven words after it. */
const LOW_TOKENS = 64 + 7;
const HIGH_TOKENS = 37 * 37 + 7;

const published: Readonly<Record<string, I2lConfig>> = {
  'qwen-image-i2l-style': { ...qwen, compress: 64 },
  'qwen-image-i2l-coarse': { ...qwen, compress: 128, residual: { tokens: LOW_TOKENS, width: 3584, reduced: 1024 } },
  'qwen-image-i2l-fine': { ...qwen, compress: 128, residual: { tokens: HIGH_TOKENS, width: 3584, reduced: 64 } },
  'z-image-i2l-style': {
    target: 'z-image', hidden: 3840, blocks: 30, feedForward: 10240, refiners: 2, width: 5632, compress: 128, rank: 4,
  }, // prettier-ignore
};

/** Ours: no such file is published, since the published sizes are all known. The rank is in no tensor's shape. */
const json = z.object({ rank: z.int().positive().optional() });

/** What an expert of any sizes is taken for: told by what it reads beside the image's vectors. */
export function expertKind({ residual }: I2lConfig): ExpertName {
  if (!residual) return 'style';
  return residual.tokens === LOW_TOKENS ? 'coarse' : 'fine';
}

/** The target with this expert's sizes. */
export function expertTarget(config: I2lConfig): Target {
  return config.target === 'qwen-image'
    ? qwenImage(config.hidden, config.blocks)
    : zImage(config.hidden, config.feedForward, config.blocks, config.refiners);
}

/** Two linear maps, one after the other. */
export interface Decoder {
  readonly projIn: TensorRange;
  readonly projOut: TensorRange;
}
export interface ModuleWeights {
  readonly module: TargetModule;
  readonly a: Decoder;
  readonly b: Decoder;
}
export interface BlockWeights {
  /** Of the checkpoint's keys, e.g. 'blocks.61'. */
  readonly key: string;
  readonly residual: Decoder | undefined;
  readonly modules: readonly ModuleWeights[];
}

function decoder(scope: Scope, { width, compress }: I2lConfig, out: number): Decoder {
  return {
    projIn: scope.tensor('proj_in.weight', [compress, width]),
    projOut: scope.tensor('proj_out.weight', [out, compress]),
  };
}

function block(scope: Scope, config: I2lConfig, { expertKey, modules }: TargetBlock): BlockWeights {
  const at = scope.at(expertKey);
  const { residual, compress, rank } = config;
  return {
    key: expertKey,
    residual: residual && {
      projIn: at.tensor('proj_residual.proj_in.weight', [residual.reduced, residual.width]),
      projOut: at.tensor('proj_residual.proj_out.weight', [compress, residual.tokens * residual.reduced]),
    },
    modules: modules.map((module, i) => ({
      module,
      a: decoder(at.at('layers').at(i).at('proj_a'), config, rank * module.in),
      b: decoder(at.at('layers').at(i).at('proj_b'), config, rank * module.out),
    })),
  };
}

/** The expert's weights block by block, in the order of its target's modules. */
export function readExpert(scope: Scope, config: I2lConfig): readonly BlockWeights[] {
  return targetBlocks(expertTarget(config)).map((target) => block(scope, config, target));
}

/** The rank is in no shape: shapes hold its product with the target's widths. */
function sizes(checkpoint: Checkpoint, json: Partial<I2lConfig>): Partial<I2lConfig> | undefined {
  const rank = json.rank ?? 4;
  const prefix = checkpoint.has('layers_lora.blocks.0.layers.0.proj_a.proj_in.weight') ? 'layers_lora.' : '';
  const rows = (key: string): number => (checkpoint.entry(`${prefix}${key}.proj_out.weight`)?.shape[0] ?? 0) / rank;
  const count = (of: string): number => countBlocks(checkpoint, (i) => `${of}blocks.${i}.layers.0.proj_a.proj_in.weight`);
  const projIn = checkpoint.entry(`${prefix}blocks.0.layers.0.proj_a.proj_in.weight`)?.shape;
  if (!projIn) return undefined;
  const [compress = 0, width = 0] = projIn;
  const common = { width, compress, rank, hidden: rows('blocks.0.layers.0.proj_a') };
  if (prefix === '') {
    return { ...common, target: 'qwen-image', blocks: count('') / 4, ...residualSizes(checkpoint, 'blocks.0') };
  }
  const blocks = count(prefix) / 2;
  const feedForward = rows(`blocks.${blocks}.layers.0.proj_b`);
  return { ...common, target: 'z-image', blocks, feedForward, refiners: count('context_refiner_lora.') / 2 };
}

function residualSizes(checkpoint: Checkpoint, key: string): Pick<I2lConfig, 'residual'> {
  const projIn = checkpoint.entry(`${key}.proj_residual.proj_in.weight`)?.shape;
  const projOut = checkpoint.entry(`${key}.proj_residual.proj_out.weight`)?.shape;
  if (!projIn || !projOut) return {};
  const [reduced = 1, width = 0] = projIn;
  return { residual: { tokens: (projOut[1] ?? 0) / reduced, width, reduced } };
}

export const i2l: Network<I2lConfig> = {
  id: 'i2l',
  title: 'image-to-LoRA expert',
  published,
  sizes,
  schema: i2lConfig,
  fromJson: (value) => told<I2lConfig>(parseConfig(json, value)),
  read: readExpert,
};
