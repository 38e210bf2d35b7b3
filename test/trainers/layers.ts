import { qwenImage, targetBlocks, zImage, type Target } from '../../main/lora/targets.ts';

/** Every linear layer of the two models, as in diffusers' transformer_qwenimage.py and transformer_z_image.py. */
const QWEN_BLOCK = [
  ...['to_q', 'to_k', 'to_v', 'to_out.0', 'add_q_proj', 'add_k_proj', 'add_v_proj', 'to_add_out'].map((name) => `attn.${name}`),
  ...['img', 'txt'].flatMap((stream) => [`${stream}_mlp.net.0.proj`, `${stream}_mlp.net.2`, `${stream}_mod.1`]),
];
const QWEN_OUTSIDE = [
  'img_in',
  'txt_in',
  'proj_out',
  'norm_out.linear',
  'time_text_embed.timestep_embedder.linear_1',
  'time_text_embed.timestep_embedder.linear_2',
];
const Z_BLOCK = [
  ...['to_q', 'to_k', 'to_v', 'to_out.0'].map((name) => `attention.${name}`),
  ...['w1', 'w2', 'w3'].map((name) => `feed_forward.${name}`),
];
const Z_OUTSIDE = ['all_x_embedder.2-1', 'cap_embedder.1', 't_embedder.mlp.0', 't_embedder.mlp.2', 'all_final_layer.2-1.linear'];

const blocks = (component: string, count: number, names: readonly string[]): string[] =>
  Array.from({ length: count }, (_, i) => names.map((name) => `${component}.${i}.${name}`)).flat();

export interface Model {
  readonly target: Target;
  /** All its linear layers. */
  readonly layers: readonly string[];
  /** Those that an expert's LoRA has. */
  readonly experts: readonly string[];
}

const expertsOf = (target: Target): string[] => targetBlocks(target).flatMap((block) => block.modules.map(({ path }) => path));

export const MODELS: readonly Model[] = [
  {
    target: qwenImage(),
    layers: [...blocks('transformer_blocks', 60, QWEN_BLOCK), ...QWEN_OUTSIDE],
    experts: expertsOf(qwenImage()),
  },
  {
    target: zImage(),
    layers: [
      ...blocks('layers', 30, [...Z_BLOCK, 'adaLN_modulation.0']),
      ...blocks('noise_refiner', 2, [...Z_BLOCK, 'adaLN_modulation.0']),
      ...blocks('context_refiner', 2, Z_BLOCK),
      ...Z_OUTSIDE,
    ],
    experts: expertsOf(zImage()),
  },
];

/** Which layers a choice takes, by each trainer's own rule. */
export const TAKEN = {
  /** peft: one entry is a regular expression of the whole name, several are names or their ends. */
  diffsynth: (targetModules: string, layers: readonly string[]): string[] => {
    const entries = targetModules.split(',');
    const [only = ''] = entries;
    if (entries.length === 1) return layers.filter((layer) => new RegExp(`^(?:${only})$`).test(layer));
    return layers.filter((layer) => entries.some((entry) => layer === entry || layer.endsWith(`.${entry}`)));
  },
  /** Out goes what an exclude pattern matches and no include pattern; its own excludes are always there. */
  musubi: (networkArgs: readonly string[], layers: readonly string[]): string[] => {
    const patterns = (name: string): RegExp[] => {
      const [, value = ''] = networkArgs.find((arg) => arg.startsWith(`${name}=`))?.split('=') ?? [];
      return [...value.matchAll(/r'([^']*)'/g)].map(([, pattern]) => new RegExp(`^(?:${pattern})$`));
    };
    const [excluded, included] = [
      [...patterns('exclude_patterns'), /^.*(_mod_|_modulation|_refiner).*$/],
      patterns('include_patterns'),
    ];
    return layers.filter(
      (layer) => !excluded.some((pattern) => pattern.test(layer)) || included.some((pattern) => pattern.test(layer)),
    );
  },
  aiToolkit: (onlyIfContains: readonly string[], layers: readonly string[]): string[] =>
    layers.filter((layer) => onlyIfContains.some((text) => `transformer.${layer}`.includes(text))),
  /** re.search of any of the parts between commas. */
  oneTrainer: (layerFilter: string, layers: readonly string[]): string[] =>
    layers.filter((layer) => layerFilter.split(',').some((part) => new RegExp(part.trim()).test(layer))),
};
