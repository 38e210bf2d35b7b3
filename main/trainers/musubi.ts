import type { TargetId } from '../contract/experts.ts';
import { modulePattern } from './module-patterns.ts';
import { scriptFiles, scriptFillIns, scriptUsage, type Script, type Word } from './script.ts';
import {
  FILL_IN,
  IMAGES_FOLDER,
  LORA_FILE,
  OUTPUT_FOLDER,
  stepsBetweenSaves,
  type Trainer,
  type TrainingStart,
} from './trainer.ts';

/** musubi-tuner: options as in its docs/qwen_image.md, docs/zimage.md, docs/dataset_config.md and docs/advanced_config.md. */
interface Model {
  /** Its scripts are called <this>_train_network.py, <this>_cache_latents.py … */
  readonly scripts: string;
  readonly network: string;
  readonly shift: number;
  readonly learningRate: number;
  readonly dit: string;
  readonly vae: string;
  readonly textEncoder: string;
}

const MODELS: Readonly<Record<TargetId, Model>> = {
  'qwen-image': {
    scripts: 'qwen_image',
    network: 'networks.lora_qwen_image',
    shift: 2.2,
    learningRate: 5e-5,
    dit: 'qwen_image_bf16.safetensors',
    vae: 'qwen_image_vae.safetensors',
    textEncoder: 'qwen_2.5_vl_7b.safetensors',
  },
  'z-image': {
    scripts: 'zimage',
    network: 'networks.lora_zimage',
    shift: 2,
    learningRate: 1e-4,
    dit: "Z-Image's first diffusion_pytorch_model-*.safetensors",
    vae: "Z-Image's VAE, ae.safetensors or diffusion_pytorch_model.safetensors",
    textEncoder: "Z-Image's first text_encoder/model-*.safetensors",
  },
};

const TRAIN_CONFIG = 'train.toml';
const DATASET_CONFIG = 'dataset.toml';

export const musubi: Trainer = {
  title: 'musubi-tuner',
  keyForm: 'musubi',
  // It looks into blocks alone (its TARGET_REPLACE_MODULES), and drops other keys of the start without a word.
  untrainable: (modules) => modules.filter((path) => !/\.\d+\./.test(path)),
  files: (start) => {
    const script = trainingScript(start);
    return {
      files: [
        ...scriptFiles(script),
        { name: TRAIN_CONFIG, text: toml({ '': trainConfig(start) }) },
        { name: DATASET_CONFIG, text: toml(DATASET) },
      ],
      fillIn: scriptFillIns(script),
      usage: scriptUsage(script),
    };
  },
};

function trainingScript({ target, baseModel }: TrainingStart): Script {
  const { scripts, dit, vae, textEncoder } = MODELS[target.id];
  const script = (name: string): Word => ({ setting: 'MUSUBI', then: `src/musubi_tuner/${scripts}_${name}.py` });
  const data: Word[] = ['--dataset_config', DATASET_CONFIG];
  const fill = (name: string): string => `${FILL_IN}: ${name}`;
  const named = (name: string): Word[] => ['--output_name', name];
  return {
    settings: [
      { name: 'MUSUBI', value: fill('musubi-tuner'), meaning: "the whole path of musubi-tuner's repository" },
      { name: 'DIT', value: baseModel ?? fill(dit), meaning: `the whole path of the diffusion model's file (${dit})` },
      { name: 'VAE', value: fill(vae), meaning: `the whole path of the VAE's file (${vae})` },
      { name: 'TEXT_ENCODER', value: fill(textEncoder), meaning: `the whole path of the text encoder's file (${textEncoder})` },
    ],
    // Paths in the configs are relative to here.
    workingFolder: { here: '.' },
    commands: [
      ['python', script('cache_latents'), ...data, '--vae', { setting: 'VAE' }, '--skip_existing'],
      ['python', script('cache_text_encoder_outputs'), ...data, '--text_encoder', { setting: 'TEXT_ENCODER' }, '--batch_size', '1'],
      [
        ...['accelerate', 'launch', '--num_cpu_threads_per_process', '1', '--mixed_precision', 'bf16'],
        ...[script('train_network'), '--config_file', TRAIN_CONFIG, '--dit', { setting: 'DIT' }, '--vae', { setting: 'VAE' }],
        ...['--text_encoder', { setting: 'TEXT_ENCODER' }],
      ],
    ],
    modes: {
      start: { meaning: 'train on from the LoRA', words: ['--network_weights', LORA_FILE, ...named('from-start')] },
      random: { meaning: 'the same without it, to compare', words: named('from-random') },
      difference: {
        meaning: 'differential training: the LoRA stays fixed in the model, and a new one learns what is missing',
        words: ['--base_weights', LORA_FILE, ...named('difference')],
      },
    },
  };
}

type TomlValue = string | number | boolean | readonly (string | number)[];

function trainConfig(start: TrainingStart): Record<string, TomlValue> {
  const { network, shift, learningRate } = MODELS[start.target.id];
  return {
    dataset_config: DATASET_CONFIG,
    network_module: network,
    network_dim: start.rank,
    network_alpha: start.rank,
    network_args: networkArgs(start),
    max_train_steps: start.steps,
    save_every_n_steps: stepsBetweenSaves(start),
    output_dir: OUTPUT_FOLDER,
    sdpa: true,
    mixed_precision: 'bf16',
    timestep_sampling: 'shift',
    weighting_scheme: 'none',
    discrete_flow_shift: shift,
    optimizer_type: 'adamw8bit',
    learning_rate: learningRate,
    gradient_checkpointing: true,
    max_data_loader_n_workers: 2,
    persistent_data_loader_workers: true,
    seed: 42,
  };
}

/**
 * Excluded is all, included are the LoRA's modules: by itself musubi leaves out some (modulations, Z-Image's
 * refiners) and adds others (every linear layer of a block).
 */
export function networkArgs({ target, modules }: Pick<TrainingStart, 'target' | 'modules'>): string[] {
  const own = musubi.untrainable(modules);
  const pattern = modulePattern(target, modules.filter((path) => !own.includes(path))); // prettier-ignore
  return ["exclude_patterns=[r'.*']", `include_patterns=[r'${pattern}']`];
}

const DATASET = {
  general: { resolution: [1024, 1024], caption_extension: '.txt', batch_size: 1, enable_bucket: true, bucket_no_upscale: true },
  '[datasets]': { image_directory: IMAGES_FOLDER, cache_directory: 'cache', num_repeats: 1 },
};

/** Tables of plain values; '' is the top. JSON's strings, numbers and lists are TOML's, too. */
function toml(tables: Readonly<Record<string, Readonly<Record<string, TomlValue>>>>): string {
  const lines = Object.entries(tables).map(([table, values]) => [
    ...(table === '' ? [] : [`[${table}]`]),
    ...Object.entries(values).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
  ]);
  return `${lines.map((table) => table.join('\n')).join('\n\n')}\n`;
}
