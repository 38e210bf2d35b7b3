import { I2lError } from '../contract/errors.ts';
import type { LORA_DTYPES } from '../contract/job.ts';
import type { TrainerId } from '../contract/trainers.ts';
import { previewPng } from '../imaging/preview.ts';
import type { KeyForm } from '../lora/keys.ts';
import { isKnownModule } from '../lora/known-modules.ts';
import { openLora, rankOf, type Lora } from '../lora/read-lora.ts';
import { qwenImage, zImage, type Target } from '../lora/targets.ts';
import { LORA_FILE } from '../trainers/trainer.ts';
import type { ImageFile } from '../trainers/training-images.ts';
import { TRAINERS, writeTrainingStart, type WrittenStart } from '../trainers/write-start.ts';
import { targetOf } from './inspect-lora.ts';

export { LORA_FILE, TRAINERS, type ImageFile, type WrittenStart };

export interface TrainerExport {
  readonly file: string;
  readonly trainer: TrainerId;
  /** Absolute; made, and never over what is there. */
  readonly folder: string;
  /** Of all modules; the file's own, or the largest of them, if not given. */
  readonly rank?: number | undefined;
  readonly images: readonly ImageFile[];
  readonly trigger: readonly string[];
  readonly steps: number;
  readonly baseModel?: string | undefined;
}

/** A job that writes a LoRA again, without the engine's options. */
export type LoraChange = (
  | { readonly kind: 'merge'; readonly inputs: readonly { readonly file: string; readonly strength: number }[] }
  | { readonly kind: 'reset-rank'; readonly file: string; readonly choice: object; readonly split: 'balanced' }
) & { readonly output: string; readonly keyForm: KeyForm; readonly dtype: (typeof LORA_DTYPES)[number] };

export interface TrainerSurroundings {
  readonly change: (job: LoraChange) => Promise<unknown>;
  readonly signal?: AbortSignal | undefined;
}

/** Trainers bring images down to about a thousand pixels a side. */
const CONVERTED_SIDE = 4096;

/**
 * Writes what a trainer needs to go on from a LoRA. Without a new rank the factors stay as they are, only under
 * other names and with the alpha in them; with one they are the exact best of that rank, singular values halved
 * between both factors, as a training that has begun leaves them.
 * @throws I2lError UNSUPPORTED for another model's LoRA, and what writeTrainingStart gives
 */
export async function exportTrainingStart(request: TrainerExport, { change, signal }: TrainerSurroundings): Promise<WrittenStart> {
  const { file, rank: asked, ...rest } = request;
  const lora = openLora(file);
  const target = targetFor(file, lora);
  const rank = asked ?? rankOf(lora);
  const isUniform = asked === undefined && lora.modules.every((module) => module.rank === rank);
  const dtype = dtypeOf(lora);
  return writeTrainingStart(
    { ...rest, target, modules: lora.modules.map(({ path }) => path), rank },
    {
      writeLora: (output, keyForm) =>
        change({
          ...(isUniform
            ? { kind: 'merge', inputs: [{ file, strength: 1 }] }
            : { kind: 'reset-rank', file, choice: { kind: 'fixed', rank }, split: 'balanced' }),
          output,
          keyForm,
          dtype,
        }),
      toPng: (image) => previewPng(image, CONVERTED_SIDE),
      signal,
    },
  );
}

function targetFor(file: string, { modules }: Lora): Target {
  const paths = modules.map(({ path }) => path);
  const id = targetOf(paths);
  const strange = paths.filter((path) => !isKnownModule(path));
  if (strange.length > 0 || (id !== 'qwen-image' && id !== 'z-image')) {
    const [first] = strange;
    const why = first === undefined ? '' : ` (they have no layer ${first})`;
    throw new I2lError(
      'UNSUPPORTED',
      `${file}: it is a LoRA for neither Qwen-Image nor Z-Image${why}, so no config can be written.`,
      {
        file,
        modules: strange.slice(0, 20),
        reason: 'no-trainer-target',
      },
    );
  }
  return id === 'qwen-image' ? qwenImage() : zImage();
}

/** The file's own type; f8, which no trainer takes, becomes bf16. */
function dtypeOf({ modules }: Lora): LoraChange['dtype'] {
  const types = new Set(modules.flatMap(({ a, b }) => [a.dtype, b.dtype]));
  if (types.has('F32')) return 'f32';
  return types.size === 1 && types.has('F16') ? 'f16' : 'bf16';
}
