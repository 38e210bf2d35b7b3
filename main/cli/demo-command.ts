import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dataFolder } from '../data-folder.ts';
import { makeDemoModels } from '../pipelines/demo-models.ts';
import { create, type CommandContext, type EngineOptions, type RecipeOptions } from './commands.ts';

export interface DemoOptions extends EngineOptions, Pick<RecipeOptions, 'library'> {
  readonly output?: string;
  readonly keepModels?: string;
}

/** The main job on the example images, with tiny random models made on the spot. */
export async function demo(context: CommandContext, options: DemoOptions): Promise<void> {
  const home = join(dataFolder(), 'demo');
  const models = resolve(options.keepModels ?? join(home, 'models'));
  context.report.remark(
    'The demo makes tiny models with random weights: it shows the way from images to a LoRA file, not a style.',
  );
  try {
    makeDemoModels(models, (id) => context.report.remark(`Making a tiny ${id} in ${models}`));
    await create(context, [fileURLToPath(new URL('../../resources/examples', import.meta.url))], {
      ...options,
      models,
      target: 'qwen-image',
      experts: [{ name: 'style', strength: 1 }],
      output: options.output ?? join(home, 'i2l-demo.safetensors'),
      dtype: 'bf16',
      keyForm: 'comfyui',
      cache: false,
    });
  } finally {
    if (options.keepModels === undefined) rmSync(models, { recursive: true, force: true });
  }
}
