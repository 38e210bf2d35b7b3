import { join } from 'node:path';
import type { TargetId } from '../contract/experts.ts';
import { asciiJson } from './ascii-json.ts';
import { modulePattern } from './module-patterns.ts';
import {
  commandUsage,
  IMAGES_FOLDER,
  LORA_FILE,
  OUTPUT_FOLDER,
  passes,
  stepsBetweenSaves,
  type TextFile,
  type Trainer,
  type TrainingStart,
} from './trainer.ts';

/** OneTrainer: keys as in its training_presets, modules/util/config/TrainConfig.py and ConceptConfig.py. */
const MODELS: Readonly<Record<TargetId, object>> = {
  'qwen-image': { model_type: 'QWEN', base_model_name: 'Qwen/Qwen-Image' },
  'z-image': { model_type: 'Z_IMAGE', base_model_name: 'Tongyi-MAI/Z-Image' },
};

const CONCEPTS = 'concepts.json';

export const oneTrainer: Trainer = {
  title: 'OneTrainer',
  keyForm: 'onetrainer',
  untrainable: () => [],
  files: (start) => ({
    files: [configFile(start, 'start'), configFile(start, 'random'), { name: CONCEPTS, text: asciiJson([concept(start)]) }],
    fillIn: [],
    usage: commandUsage("OneTrainer's folder", 'python scripts/train.py --config-path', start, '.json'),
  }),
};

function configFile(start: TrainingStart, from: 'start' | 'random'): TextFile {
  const at = (...names: string[]): string => join(start.folder, ...names);
  const config = {
    training_method: 'LORA',
    ...MODELS[start.target.id],
    ...(start.baseModel === undefined ? {} : { base_model_name: start.baseModel }),
    lora_model_name: from === 'start' ? at(LORA_FILE) : '',
    lora_rank: start.rank,
    lora_alpha: start.rank,
    // It stops at a layer that is trained and not in the file.
    layer_filter: modulePattern(start.target, start.modules),
    layer_filter_preset: 'custom',
    layer_filter_regex: true,
    concept_file_name: at(CONCEPTS),
    workspace_dir: at(OUTPUT_FOLDER, `workspace-from-${from}`),
    cache_dir: at('cache', `from-${from}`),
    output_model_destination: at(OUTPUT_FOLDER, `from-${from}.safetensors`),
    epochs: passes(start),
    batch_size: 1,
    resolution: '1024',
    learning_rate: 0.0001,
    learning_rate_warmup_steps: 0,
    save_every: stepsBetweenSaves(start),
    save_every_unit: 'STEP',
    train_dtype: 'BFLOAT_16',
    output_dtype: 'BFLOAT_16',
    timestep_distribution: 'LOGIT_NORMAL',
    transformer: { train: true, weight_dtype: 'FLOAT_8' },
    text_encoder: { train: false, weight_dtype: 'FLOAT_8' },
    vae: { weight_dtype: 'FLOAT_32' },
  };
  return { name: `train-from-${from}.json`, text: asciiJson(config) };
}

function concept({ folder }: TrainingStart): object {
  return {
    name: 'images',
    path: join(folder, IMAGES_FOLDER),
    enabled: true,
    seed: 42,
    image: { enable_crop_jitter: false, enable_random_flip: false },
    text: { prompt_source: 'sample' },
  };
}
