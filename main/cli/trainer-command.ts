import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import type { TrainerId } from '../contract/trainers.ts';
import { exportTrainingStart, TRAINERS, type WrittenStart } from '../pipelines/export-trainer.ts';
import { collectImages } from '../imaging/list-images.ts';
import { runEngineJob, type CommandContext, type EngineOptions } from './commands.ts';

/** i2l export --for TRAINER: a folder from which a trainer goes on. */

export interface TrainerOptions extends EngineOptions {
  readonly for?: TrainerId;
  readonly output?: string;
  readonly rank?: number;
  readonly images?: readonly string[];
  readonly trigger?: readonly string[];
  readonly steps: number;
  readonly baseModel?: string;
}

export async function exportForTrainer(
  context: CommandContext,
  file: string,
  trainer: TrainerId,
  options: TrainerOptions,
): Promise<void> {
  const { output, rank, images = [], trigger = [], steps, baseModel, memory, device, threads } = options;
  if (output === undefined) {
    throw new I2lError('BAD_ARGUMENT', 'export --for needs a folder to write to: -o FOLDER.', { option: 'output' });
  }
  const written = await exportTrainingStart(
    {
      file: resolve(file),
      trainer,
      folder: resolve(output),
      rank,
      images: collectImages(images).map((image) => ({ file: image })),
      trigger,
      steps,
      // A path of this machine, or a name or another machine's path as it is.
      baseModel: baseModel !== undefined && existsSync(baseModel) ? resolve(baseModel) : baseModel,
    },
    { change: (job) => runEngineJob(context, { ...job, memory, device, threads }), signal: context.signal },
  );
  for (const note of written.notes) context.report.event({ type: 'note', ...note });
  context.report.result(startWords(written), { type: 'training-start', ...written });
}

function startWords({ folder, trainer, rank, modules, images, fillIn, usage }: WrittenStart): string {
  return [
    folder,
    `  for ${TRAINERS[trainer].title}: LoRA of rank ${rank}, ${modules} modules; ${images} image${images === 1 ? '' : 's'}`,
    ...(fillIn.length === 0 ? [] : ['  fill in first:', ...fillIn.map(({ message }) => `    ${message}`)]),
    '  then:',
    ...usage.map((line) => `    ${line.replaceAll('\n', '\n    ')}`),
    '  README.txt there says more',
  ].join('\n');
}
