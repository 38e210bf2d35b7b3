import type { Note } from '../contract/notes.ts';
import {
  IMAGES_FOLDER,
  LORA_FILE,
  OUTPUT_FOLDER,
  stepsBetweenSaves,
  type Trainer,
  type TrainerFiles,
  type TrainingStart,
} from './trainer.ts';

type Said = Pick<TrainerFiles, 'fillIn' | 'usage'> & { readonly notes: readonly Note[] };

/** What lies in the folder and how it is used, for who finds it a month later. */
export function readmeText(trainer: Trainer, start: TrainingStart, { fillIn, usage, notes }: Said): string {
  const { target, rank, modules, images, steps } = start;
  const parts = [
    `A start for training with ${trainer.title}: a ${target.title} LoRA that an image-to-LoRA model made, its images and a config.`,
    list('What is here', [
      `${LORA_FILE}: the LoRA, ${modules.length} modules of rank ${rank} (alpha ${rank}), in the keys that ${trainer.title} reads`,
      `${IMAGES_FOLDER}: ${images.length} images, each with a text file of its caption; better captions make a better LoRA`,
      `the config: ${steps} steps of one image, saved every ${stepsBetweenSaves(start)}; its rank, alpha and layers are the LoRA's`,
      `${OUTPUT_FOLDER}: what training writes`,
    ]),
    list('Fill in first', messagesOf(fillIn)),
    list('Then', usage),
    list('Note', messagesOf(notes)),
    'Change rank, alpha and layers only together with the LoRA: what the trainer does not find in it starts at random, and what it does not look for is lost.',
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function messagesOf(notes: readonly Note[]): string[] {
  return notes.map(({ message }) => message);
}

function list(title: string, items: readonly string[]): string {
  return items.length === 0 ? '' : [`${title}:`, ...items.map((item) => `  - ${item.replaceAll('\n', '\n  ')}`)].join('\n');
}
