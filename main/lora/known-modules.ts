/**
 * Names of the linear layers of the diffusion models that we know, for kohya's form alone: it writes dots
 * as underscores, so 'attn_to_out_0' can't be undone without a list. Qwen-Image and Z-Image as in
 * diffusers' transformer_qwenimage.py and transformer_z_image.py; fused names as ComfyUI has them.
 */
const BLOCKS = ['transformer_blocks', 'layers', 'context_refiner', 'noise_refiner'];

const IN_BLOCK = [
  ...['to_q', 'to_k', 'to_v', 'to_out.0', 'add_q_proj', 'add_k_proj', 'add_v_proj', 'to_add_out'].map((name) => `attn.${name}`),
  ...['img', 'txt'].flatMap((stream) => [`${stream}_mlp.net.0.proj`, `${stream}_mlp.net.2`, `${stream}_mod.1`]),
  ...['to_q', 'to_k', 'to_v', 'to_out.0', 'qkv', 'out'].map((name) => `attention.${name}`),
  ...['w1', 'w2', 'w3'].map((name) => `feed_forward.${name}`),
  'adaLN_modulation.0',
  'adaLN_modulation.1',
];

const OUTSIDE = [
  'img_in',
  'txt_in',
  'proj_out',
  'norm_out.linear',
  'time_text_embed.timestep_embedder.linear_1',
  'time_text_embed.timestep_embedder.linear_2',
  'x_embedder',
  'cap_embedder.1',
  't_embedder.mlp.0',
  't_embedder.mlp.2',
];

const flatten = (path: string): string => path.replaceAll('.', '_');

const inBlock = new Map(IN_BLOCK.map((path) => [flatten(path), path]));
const outside = new Map(OUTSIDE.map((path) => [flatten(path), path]));
const blockPattern = new RegExp(`^(${BLOCKS.join('|')})_(\\d+)_(.+)$`);

/** 'transformer_blocks_0_attn_to_q' to 'transformer_blocks.0.attn.to_q'; undefined for a name that isn't listed. */
export function unflattenModule(flat: string): string | undefined {
  const [, block, index, name = ''] = blockPattern.exec(flat) ?? [];
  if (block === undefined) return outside.get(flat);
  const path = inBlock.get(name);
  return path === undefined ? undefined : `${block}.${index}.${path}`;
}

/** Whether Qwen-Image or Z-Image has a linear layer of this name. */
export function isKnownModule(path: string): boolean {
  return unflattenModule(flatten(path)) === path;
}

export { flatten as flattenModule };
