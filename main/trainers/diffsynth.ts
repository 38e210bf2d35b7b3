import type { TargetId } from '../contract/experts.ts';
import { asciiJson } from './ascii-json.ts';
import { modulePattern, namesInAllBlocks } from './module-patterns.ts';
import { scriptFiles, scriptFillIns, scriptUsage, type Script, type Word } from './script.ts';
import {
  FILL_IN,
  IMAGES_FOLDER,
  LORA_FILE,
  OUTPUT_FOLDER,
  passes,
  stepsBetweenSaves,
  type Trainer,
  type TrainingStart,
} from './trainer.ts';

/**
 * DiffSynth-Studio, whose image-to-LoRA models ours run: options as in its diffsynth/diffusion/parsers.py,
 * values as in examples/<model>/model_training/lora. It has the model's files from ModelScope by their names.
 */
const MODELS: Readonly<Record<TargetId, { readonly script: string; readonly id: string; readonly files: readonly string[] }>> = {
  'qwen-image': {
    script: 'examples/qwen_image/model_training/train.py',
    id: 'Qwen/Qwen-Image',
    files: [
      'Qwen/Qwen-Image:transformer/diffusion_pytorch_model*.safetensors',
      'Qwen/Qwen-Image:text_encoder/model*.safetensors',
      'Qwen/Qwen-Image:vae/diffusion_pytorch_model.safetensors',
    ],
  },
  'z-image': {
    script: 'examples/z_image/model_training/train.py',
    id: 'Tongyi-MAI/Z-Image',
    files: [
      'Tongyi-MAI/Z-Image:transformer/*.safetensors',
      'Tongyi-MAI/Z-Image-Turbo:text_encoder/*.safetensors',
      'Tongyi-MAI/Z-Image-Turbo:vae/diffusion_pytorch_model.safetensors',
    ],
  },
};

export const diffsynth: Trainer = {
  title: 'DiffSynth-Studio',
  keyForm: 'reference',
  untrainable: () => [],
  files: (start) => {
    const script = trainingScript(start);
    const metadata = start.images.map(({ name, caption }) => ({ image: name, prompt: caption }));
    return {
      files: [...scriptFiles(script), { name: 'metadata.json', text: asciiJson(metadata) }],
      fillIn: scriptFillIns(script),
      usage: scriptUsage(script),
    };
  },
};

function trainingScript(start: TrainingStart): Script {
  const { script, id, files } = MODELS[start.target.id];
  const saved = (name: string): Word[] => ['--output_path', { here: `${OUTPUT_FOLDER}/${name}` }];
  const lora = { here: LORA_FILE };
  return {
    settings: [
      { name: 'DIFFSYNTH', value: `${FILL_IN}: DiffSynth-Studio`, meaning: "the whole path of DiffSynth-Studio's repository" },
    ],
    ...(start.baseModel === undefined ? {} : { environment: { DIFFSYNTH_MODEL_BASE_PATH: modelsFolder(start.baseModel, id) } }),
    workingFolder: { setting: 'DIFFSYNTH' },
    commands: [['accelerate', 'launch', script, ...options(start, files)]],
    modes: {
      start: { meaning: 'train on from the LoRA', words: ['--lora_checkpoint', lora, ...saved('from-start')] },
      random: { meaning: 'the same without it, to compare', words: saved('from-random') },
      difference: {
        meaning: 'differential training: the LoRA stays fixed in the model, and a new one learns what is missing',
        words: ['--preset_lora_path', lora, '--preset_lora_model', 'dit', ...saved('difference')],
      },
    },
  };
}

function options(start: TrainingStart, files: readonly string[]): Word[] {
  const pairs: [string, Word][] = [
    ['--dataset_base_path', { here: IMAGES_FOLDER }],
    ['--dataset_metadata_path', { here: 'metadata.json' }],
    ['--max_pixels', '1048576'],
    ['--dataset_repeat', String(passes(start))],
    ['--num_epochs', '1'],
    ['--save_steps', String(stepsBetweenSaves(start))],
    ['--model_id_with_origin_paths', files.join(',')],
    ['--learning_rate', '1e-4'],
    ['--remove_prefix_in_ckpt', 'pipe.dit.'],
    ['--lora_base_model', 'dit'],
    ['--lora_target_modules', targetModules(start)],
    ['--lora_rank', String(start.rank)],
  ];
  return [...pairs.flat(), '--use_gradient_checkpointing', '--find_unused_parameters'];
}

/** Ends of names as in DiffSynth's own scripts; a single entry is a regular expression to peft, of the whole name. */
export function targetModules({ target, modules }: Pick<TrainingStart, 'target' | 'modules'>): string {
  const names = namesInAllBlocks(target, modules);
  if (names === undefined || names.length === 1) return modulePattern(target, modules);
  return names.map((name) => name.replace(/^(attn|attention|feed_forward)\./, '')).join(',');
}

/** DiffSynth wants the folder that has 'Qwen/Qwen-Image' in it; the model's own folder is understood, too. */
function modelsFolder(path: string, id: string): string {
  const [, parent] = new RegExp(`^(.*)[\\\\/]${id.replace('/', '[\\\\/]')}[\\\\/]?$`).exec(path) ?? [];
  return parent ?? path;
}
