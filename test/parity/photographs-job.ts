import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CreateJob } from '../../main/contract/job.ts';
import { goldenFolder } from './goldens.ts';

/** The models of the golden that goes the whole way, from three photographs to a LoRA. */
const MODELS = {
  'siglip2-g384': { folder: goldenFolder('preprocess', 'siglip2'), file: 'model.safetensors' },
  'dinov3-7b': { folder: goldenFolder('preprocess', 'dinov3'), file: 'model.safetensors' },
  'qwen-image-i2l-style': { folder: goldenFolder('i2l', 'photographs'), file: 'expert.safetensors' },
};

/** Puts them into a folder as the catalogue has them. @returns that folder */
export function copyModels(models: string): string {
  for (const [id, { folder, file }] of Object.entries(MODELS)) {
    mkdirSync(join(models, id), { recursive: true });
    copyFileSync(join(folder, file), join(models, id, 'model.safetensors'));
    copyFileSync(join(folder, 'config.json'), join(models, id, 'config.json'));
  }
  return models;
}

export function photographsJob(output: string, models: string): CreateJob {
  const images = ['landscape.jpg', 'portrait.jpg', 'rotated.jpg'].map((file) => ({
    file: goldenFolder('preprocess', 'inputs', file),
    weight: 1,
  }));
  return {
    kind: 'create',
    sets: [{ output, images }],
    models,
    target: 'qwen-image',
    experts: [{ name: 'style', strength: 1 }],
    dtype: 'f32',
    keyForm: 'reference',
    skipBad: false,
    memory: 2 ** 30,
    device: 'cpu',
    threads: 2,
  };
}
