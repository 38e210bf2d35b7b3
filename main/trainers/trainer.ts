import { join } from 'node:path';
import type { Note } from '../contract/notes.ts';
import type { KeyForm } from '../lora/keys.ts';
import type { Target } from '../lora/targets.ts';
import { bashQuoted, powershellQuoted } from './quoting.ts';

/** A program that trains LoRAs, and what it is given to go on from one of ours. */
export interface Trainer {
  readonly title: string;
  /** The names under which it finds the start's tensors. */
  readonly keyForm: KeyForm;
  /** The modules of a LoRA that it can't train. */
  readonly untrainable: (modules: readonly string[]) => readonly string[];
  readonly files: (start: TrainingStart) => TrainerFiles;
}

/** A LoRA, its images and how long to train: the same for every trainer. */
export interface TrainingStart {
  readonly target: Target;
  /** Where all of it will lie; absolute. */
  readonly folder: string;
  /** The LoRA's modules, all of one rank; its alpha is the rank, too. */
  readonly modules: readonly string[];
  readonly rank: number;
  /** In the folder's `images`, each with a text file of its caption. */
  readonly images: readonly TrainingImage[];
  /** Said of an image without a caption of its own. */
  readonly caption: string;
  readonly steps: number;
  /** Of the model that is trained, as the trainer takes it; what to fill in if it isn't known. */
  readonly baseModel?: string | undefined;
}

export interface TrainingImage {
  readonly name: string;
  readonly caption: string;
}

export interface TrainerFiles {
  readonly files: readonly TextFile[];
  /** What the user has to fill in, and in which file. */
  readonly fillIn: readonly Note[];
  /** How it is started. */
  readonly usage: readonly string[];
}

export interface TextFile {
  readonly name: string;
  readonly text: string;
  readonly executable?: boolean;
}

export const LORA_FILE = 'start.safetensors';
export const IMAGES_FOLDER = 'images';
export const OUTPUT_FOLDER = 'output';

/** What stands where the user has to fill something in; no path has it. */
export const FILL_IN = 'FILL-IN';

/** Passes over the images until the steps are done, at one image a step. */
export function passes({ steps, images }: TrainingStart): number {
  return Math.ceil(steps / Math.max(1, images.length));
}

/** Five pictures of the way, as in the experiment of image-to-LoRA's authors: 500 steps are seen at 100, 200 … */
export function stepsBetweenSaves({ steps }: TrainingStart): number {
  return Math.max(1, Math.round(steps / 5));
}

/** For a trainer that is started with a config: one for each way. */
export function commandUsage(place: string, command: string, { folder }: TrainingStart, ending: string): string[] {
  const line = (from: string): string => `${command} ${shownPath(join(folder, `train-from-${from}${ending}`))}`;
  return [
    `in ${place}, in its Python environment:`,
    `${line('start')}\n    train on from the LoRA`,
    `${line('random')}\n    the same without it, to compare`,
    'The configs name this folder by its whole path; if it is moved, correct it in them.',
  ];
}

/** As any shell takes it, or as the system's own does where they differ. */
function shownPath(path: string): string {
  if (!/["$`!]/.test(path)) return `"${path}"`;
  return process.platform === 'win32' ? powershellQuoted(path) : bashQuoted(path);
}
