import type { TargetId } from '../contract/experts.ts';

/**
 * A target is the diffusion model that a LoRA is for: its modules, in the order in which the published
 * experts' checkpoints list them. Everything that is named after a target follows from these tables.
 */
export interface Target {
  readonly id: TargetId;
  readonly title: string;
  /** ModelSpec's architecture, and the base model as ComfyUI-Lora-Manager names it. */
  readonly architecture: string;
  readonly baseModel: string;
  readonly components: readonly Component[];
}

/** A run of equal blocks of the diffusion model. */
export interface Component {
  /** Of the expert's checkpoint keys: '' or 'layers_lora'. */
  readonly expertPrefix: string;
  /** Of the LoRA's keys: 'transformer_blocks' or 'layers'. */
  readonly modulePrefix: string;
  readonly blocks: number;
  /** Checkpoint block b is group floor(b / blocks), diffusion block b mod blocks. */
  readonly groups: readonly (readonly ModuleShape[])[];
}

/** A linear layer of the diffusion model: dW is out x in. */
export interface ModuleShape {
  readonly name: string;
  readonly in: number;
  readonly out: number;
}

/** @param hidden and @param blocks are 3072 and 60 in the published model; others are for tiny copies of it. */
export function qwenImage(hidden = 3072, blocks = 60): Target {
  const square = (name: string): ModuleShape => ({ name, in: hidden, out: hidden });
  const stream = (name: string): ModuleShape[] => [
    { name: `${name}_mlp.net.2`, in: 4 * hidden, out: hidden },
    { name: `${name}_mod.1`, in: hidden, out: 6 * hidden },
  ];
  return {
    id: 'qwen-image',
    title: 'Qwen-Image',
    architecture: 'Qwen-Image/lora',
    baseModel: 'Qwen',
    components: [
      {
        expertPrefix: '',
        modulePrefix: 'transformer_blocks',
        blocks,
        groups: [
          ['attn.to_q', 'attn.to_k', 'attn.to_v', 'attn.to_out.0'].map(square),
          stream('img'),
          ['attn.add_q_proj', 'attn.add_k_proj', 'attn.add_v_proj', 'attn.to_add_out'].map(square),
          stream('txt'),
        ],
      },
    ],
  };
}

/** @param hidden and @param blocks are 3840 and 30 (with 2 for each refiner) in the published model. */
export function zImage(hidden = 3840, feedForward = 10240, blocks = 30, refiners = 2): Target {
  const groups: readonly ModuleShape[][] = [
    ['to_q', 'to_k', 'to_v', 'to_out.0'].map((name) => ({ name: `attention.${name}`, in: hidden, out: hidden })),
    [
      { name: 'feed_forward.w1', in: hidden, out: feedForward },
      { name: 'feed_forward.w2', in: feedForward, out: hidden },
      { name: 'feed_forward.w3', in: hidden, out: feedForward },
    ],
  ];
  const component = (name: string, count: number): Component => ({
    expertPrefix: `${name}_lora`,
    modulePrefix: name,
    blocks: count,
    groups,
  });
  return {
    id: 'z-image',
    title: 'Z-Image',
    architecture: 'Z-Image/lora',
    baseModel: 'ZImageBase',
    components: [component('layers', blocks), component('context_refiner', refiners), component('noise_refiner', refiners)],
  };
}

/** A module's name within the diffusion model, and its shape. */
export interface TargetModule extends ModuleShape {
  /** E.g. 'transformer_blocks.0.attn.to_q'. */
  readonly path: string;
}

/** A block of the expert's checkpoint with the modules that it decodes. */
export interface TargetBlock {
  /** Of the checkpoint's keys, e.g. 'blocks.61' or 'layers_lora.blocks.3'. */
  readonly expertKey: string;
  readonly modules: readonly TargetModule[];
}

/** All blocks in checkpoint order: the order in which an expert is read and a LoRA is written. */
export function targetBlocks(target: Target): TargetBlock[] {
  return target.components.flatMap(({ expertPrefix, modulePrefix, blocks, groups }) =>
    groups.flatMap((modules, group) =>
      Array.from({ length: blocks }, (_, block) => ({
        expertKey: `${expertPrefix === '' ? '' : `${expertPrefix}.`}blocks.${group * blocks + block}`,
        modules: modules.map((module) => ({ ...module, path: `${modulePrefix}.${block}.${module.name}` })),
      })),
    ),
  );
}
