import { readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import { note, type Note } from '../contract/notes.ts';
import type { TrainerId } from '../contract/trainers.ts';
import type { KeyForm } from '../lora/keys.ts';
import { contentOf, copyToPart, publishOver, syncFolder, writePart } from '../weights/atomic-copy.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import { temporaryPath } from '../weights/write-safetensors.ts';
import { aiToolkit } from './ai-toolkit.ts';
import { diffsynth } from './diffsynth.ts';
import { musubi } from './musubi.ts';
import { oneTrainer } from './onetrainer.ts';
import { readmeText } from './readme-text.ts';
import { IMAGES_FOLDER, LORA_FILE, type TextFile, type Trainer, type TrainingStart } from './trainer.ts';
import { captionName, defaultCaption, planImages, type ImageFile, type PlannedImage } from './training-images.ts';
import { makeFolderSync } from '../weights/make-folder.ts';

export const TRAINERS = { diffsynth, musubi, 'ai-toolkit': aiToolkit, onetrainer: oneTrainer } satisfies Record<TrainerId, Trainer>;

export interface StartRequest extends Pick<TrainingStart, 'target' | 'folder' | 'modules' | 'rank' | 'steps' | 'baseModel'> {
  readonly trainer: TrainerId;
  readonly images: readonly ImageFile[];
  readonly trigger: readonly string[];
}

export interface StartTools {
  /** Writes the LoRA, all modules at the start's rank. */
  readonly writeLora: (output: string, keyForm: KeyForm) => Promise<unknown>;
  readonly toPng: (image: string) => Promise<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
}

export interface WrittenStart {
  readonly folder: string;
  readonly trainer: TrainerId;
  readonly rank: number;
  readonly modules: number;
  readonly images: number;
  /** Names within the folder. */
  readonly files: readonly string[];
  readonly fillIn: readonly Note[];
  readonly usage: readonly string[];
  readonly notes: readonly Note[];
}

/**
 * Writes a folder from which a trainer goes on: the LoRA in its keys, the images with their captions, its config
 * with and without the LoRA. The folder appears when it is whole.
 * @throws I2lError BAD_ARGUMENT if there is something in the folder already, or a path that the trainer can't take
 */
export async function writeTrainingStart(request: StartRequest, tools: StartTools): Promise<WrittenStart> {
  const { folder, trainer: id } = request;
  refuseOccupied(folder);
  const trainer = TRAINERS[id];
  const caption = defaultCaption(request.trigger);
  const images = planImages(request.images, caption);
  const start = { ...request, images, caption };
  const { files, fillIn, usage } = trainer.files(start);
  const notes = notesOf(trainer, start);
  const readme = { name: 'README.txt', text: readmeText(trainer, start, { fillIn, usage, notes }) };
  const texts = [...files, readme];
  removeStaleParts(folder);
  const temporary = temporaryPath(folder);
  try {
    makeFolderSync(join(temporary, IMAGES_FOLDER));
    await tools.writeLora(join(temporary, LORA_FILE), trainer.keyForm);
    for (const image of images) await writeImage(image, join(temporary, IMAGES_FOLDER), tools);
    for (const text of texts) await writeText(text, temporary);
    await publish(temporary, folder);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
  const names = [LORA_FILE, ...texts.map(({ name }) => name), ...images.map(({ name }) => `${IMAGES_FOLDER}/${name}`)];
  return { folder, trainer: id, rank: request.rank, modules: request.modules.length, images: images.length, files: names, fillIn, usage, notes }; // prettier-ignore
}

function refuseOccupied(folder: string): void {
  try {
    if (readdirSync(folder).length === 0) return;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    if (systemCode(error) !== 'ENOTDIR') throw fileError(folder, 'read', error);
  }
  throw new I2lError(
    'BAD_ARGUMENT',
    `${folder}: there is something there already, and nothing is overwritten; choose a new folder.`,
    {
      option: 'output',
      file: folder,
      reason: 'folder-not-empty',
    },
  );
}

function notesOf({ title, untrainable }: Trainer, { images, modules, steps }: TrainingStart): Note[] {
  const left = untrainable(modules).length;
  return [
    images.length === 0 && noImages(IMAGES_FOLDER),
    left > 0 && modulesLeftOut(title, left, modules.length),
    images.length > steps && imagesUnseen(images.length, steps),
  ].filter((given) => typeof given === 'object');
}

function noImages(folder: string): Note {
  const message = `No images were given: put them into ${folder}, each with a text file of its caption, and correct what counts them.`;
  return note('TRAINING_NO_IMAGES', message, { folder });
}

function modulesLeftOut(trainer: string, left: number, modules: number): Note {
  const message = `${trainer} can't train ${left} of the ${modules} modules, and leaves them out.`;
  return note('TRAINING_MODULES_LEFT_OUT', message, { trainer, left, modules });
}

function imagesUnseen(images: number, steps: number): Note {
  return note('TRAINING_IMAGES_UNSEEN', 'There are more images than steps, so some are not seen.', { images, steps });
}

async function writeImage(
  { source, name, caption, toPng }: PlannedImage,
  folder: string,
  { toPng: convert, signal }: StartTools,
): Promise<void> {
  const target = join(folder, name);
  const part = toPng
    ? await writePart(target, await convert(source))
    : await copyToPart(source, target, await contentOf(source, signal), { signal });
  await publishOver(part);
  await publishOver(await writePart(join(folder, captionName(name)), `${caption}\n`));
}

async function writeText({ name, text, executable = false }: TextFile, folder: string): Promise<void> {
  const file = join(folder, name);
  await publishOver(await writePart(file, text));
  if (executable) await chmod(file, 0o755);
}

/** An empty folder gives way; one that has been filled meanwhile does not. */
async function publish(temporary: string, folder: string): Promise<void> {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') refuseOccupied(folder);
  }
  try {
    renameSync(temporary, folder);
  } catch (error) {
    throw fileError(folder, 'write', error);
  }
  await syncFolder(dirname(folder));
}
