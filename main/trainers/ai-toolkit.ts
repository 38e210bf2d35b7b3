import { join } from 'node:path';
import { stringify } from 'yaml';
import { I2lError } from '../contract/errors.ts';
import type { TargetId } from '../contract/experts.ts';
import { namesInAllBlocks } from './module-patterns.ts';
import {
  commandUsage,
  IMAGES_FOLDER,
  LORA_FILE,
  OUTPUT_FOLDER,
  stepsBetweenSaves,
  type TextFile,
  type Trainer,
  type TrainingStart,
} from './trainer.ts';

/** ai-toolkit: keys as in its config/examples, toolkit/config_modules.py and toolkit/lora_special.py. */
const MODELS: Readonly<Record<TargetId, object>> = {
  'qwen-image': {
    name_or_path: 'Qwen/Qwen-Image',
    arch: 'qwen_image',
    quantize: true,
    qtype: 'uint3|ostris/accuracy_recovery_adapters/qwen_image_torchao_uint3.safetensors',
    quantize_te: true,
    qtype_te: 'qfloat8',
    low_vram: true,
  },
  'z-image': {
    name_or_path: 'Tongyi-MAI/Z-Image',
    arch: 'zimage',
    quantize: true,
    qtype: 'qfloat8',
    quantize_te: true,
    qtype_te: 'qfloat8',
    low_vram: true,
  },
};

const TRAIN = {
  batch_size: 1,
  gradient_accumulation: 1,
  train_unet: true,
  train_text_encoder: false,
  cache_text_embeddings: true,
  gradient_checkpointing: true,
  noise_scheduler: 'flowmatch',
  optimizer: 'adamw8bit',
  lr: 1e-4,
  dtype: 'bf16',
};

/** One picture each time, of the same prompt and seed: it shows how far training has come. */
const SAMPLE = {
  sampler: 'flowmatch',
  width: 1024,
  height: 1024,
  neg: '',
  seed: 42,
  walk_seed: false,
  guidance_scale: 4,
  sample_steps: 25,
};

export const aiToolkit: Trainer = {
  title: 'ai-toolkit',
  keyForm: 'comfyui',
  untrainable: () => [],
  files: (start) => {
    const files = [configFile(start, 'start'), configFile(start, 'random')];
    return {
      files,
      fillIn: [],
      usage: commandUsage("ai-toolkit's folder", 'python run.py', start, '.yaml'),
    };
  },
};

function configFile(start: TrainingStart, from: 'start' | 'random'): TextFile {
  const config = { job: 'extension', config: { name: `from-${from}`, process: [training(start, from)] } };
  // ai-toolkit replaces [name] everywhere, and ${…} by environment variables before it reads YAML.
  const text = stringify(config, { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN', lineWidth: 0 });
  if (`${start.folder} ${start.baseModel ?? ''}`.includes('[name]')) {
    throw new I2lError(
      'BAD_ARGUMENT',
      `${start.folder}: ai-toolkit replaces the text [name] in every path; choose another folder.`,
      {
        option: 'output',
        file: start.folder,
        reason: 'name-in-brackets',
      },
    );
  }
  return { name: `train-from-${from}.yaml`, text: text.replaceAll('${', '\\x24{') };
}

function training(start: TrainingStart, from: 'start' | 'random'): object {
  const every = stepsBetweenSaves(start);
  const lora = { pretrained_lora_path: join(start.folder, LORA_FILE) };
  return {
    type: 'sd_trainer',
    training_folder: join(start.folder, OUTPUT_FOLDER),
    device: 'cuda:0',
    network: {
      type: 'lora',
      linear: start.rank,
      linear_alpha: start.rank,
      // Which layers is said below; by itself it would leave out Z-Image's refiners.
      transformer_only: false,
      network_kwargs: { only_if_contains: layerNames(start) },
      ...(from === 'start' ? lora : {}),
    },
    save: { dtype: 'bf16', save_every: every, max_step_saves_to_keep: 10 },
    datasets: [
      {
        folder_path: join(start.folder, IMAGES_FOLDER),
        caption_ext: 'txt',
        default_caption: start.caption,
        caption_dropout_rate: 0,
        cache_latents_to_disk: true,
        resolution: [1024],
      },
    ],
    train: { ...TRAIN, steps: start.steps },
    model: { ...MODELS[start.target.id], ...(start.baseModel === undefined ? {} : { name_or_path: start.baseModel }) },
    sample: { ...SAMPLE, sample_every: every, prompts: [start.caption] },
  };
}

/** A layer is trained if its name has one of these texts in it; its full name begins with 'transformer.'. */
export function layerNames({ target, modules }: Pick<TrainingStart, 'target' | 'modules'>): string[] {
  return namesInAllBlocks(target, modules)?.map((name) => `.${name}`) ?? modules.map((path) => `transformer.${path}`);
}
