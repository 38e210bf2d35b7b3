import { existsSync } from 'node:fs';
import type { CreateJob, SetJob } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { hashImage } from '../imaging/decode.ts';
import { readCrops } from '../imaging/read-crops.ts';
import { isOfForm, openLora } from '../lora/read-lora.ts';
import { STORED_DTYPE } from '../lora/write-lora.ts';
import { openModels } from './open-models.ts';
import { recipeId, sharesOf, type Recipe } from './recipe.ts';

export type RecipeChoice = Pick<CreateJob, 'models' | 'target' | 'experts' | 'dtype' | 'keyForm' | 'skipBad' | 'eightBit'>;

/**
 * Which sets of a job are made already: their file is there and whole, of these images, weights, models and
 * strengths, in this type and form. Reads the images' bytes and the LoRAs' headers.
 * @throws I2lError as create does for its models
 */
export async function finishedSets(sets: readonly SetJob[], choice: RecipeChoice): Promise<SetJob[]> {
  const there = sets.filter(({ output }) => existsSync(output));
  if (there.length === 0) return [];
  const recipes = recipesOf(choice);
  const finished: SetJob[] = [];
  for (const set of there) if (await isFinished(set, choice, recipes)) finished.push(set);
  return finished;
}

type ImagelessRecipe = Omit<Recipe, 'images'>;

/** Two where 8 bits are asked for: which of them it is shows only when the device is chosen. */
function recipesOf(choice: RecipeChoice): ImagelessRecipe[] {
  const { encoders, decoder } = openModels(choice);
  const recipe = { target: choice.target, encoders, experts: [...decoder.experts, ...decoder.statics] };
  if (!choice.eightBit) return [recipe];
  return [{ ...recipe, encoders: encoders.map((encoder) => ({ ...encoder, bits: 8 as const })) }, recipe];
}

async function isFinished(set: SetJob, choice: RecipeChoice, recipes: readonly ImagelessRecipe[]): Promise<boolean> {
  const made = recipeMade(set.output, choice);
  if (made === undefined) return false;
  const images = hashed(set, choice.skipBad);
  if (images === undefined) return false;
  const isOf = (some: readonly HashedImage[]): boolean =>
    recipes.some((recipe) => made === recipeId({ ...recipe, images: sharesOf(some) }));
  if (isOf(images)) return true;
  if (!choice.skipBad) return false;
  const usable = await usableOf(images);
  return usable.length > 0 && isOf(usable);
}

/** The recipe that a LoRA says it was made by; undefined for a file that is none, or of another type or form. */
function recipeMade(output: string, { dtype, keyForm }: RecipeChoice): string | undefined {
  try {
    const lora = openLora(output);
    const isSame = isOfForm(lora, keyForm) && [...lora.file.tensors.values()].some((entry) => entry.dtype === STORED_DTYPE[dtype]);
    return isSame ? lora.file.metadata['i2l.recipe'] : undefined;
  } catch (error) {
    // Whatever lies there is not this LoRA, and will be replaced by it.
    if (error instanceof I2lError) return undefined;
    throw error;
  }
}

interface HashedImage {
  readonly file: string;
  readonly sha256: string;
  readonly weight: number;
}

/** @returns undefined if one can't be read and may not be left out: the job will say so */
function hashed({ images }: SetJob, skipBad: boolean): HashedImage[] | undefined {
  const read: HashedImage[] = [];
  for (const { file, weight } of images) {
    if (weight === 0) continue;
    try {
      read.push({ file, weight, sha256: hashImage(file) });
    } catch (error) {
      if (!(error instanceof I2lError)) throw error;
      if (!skipBad) return undefined;
    }
  }
  return read;
}

/** What decoding an image may take here. */
const CHECK_BYTES = 256 << 20;

async function usableOf(images: readonly HashedImage[]): Promise<HashedImage[]> {
  const usable: HashedImage[] = [];
  for (const image of images) {
    try {
      await readCrops(image.file, [], CHECK_BYTES);
      usable.push(image);
    } catch (error) {
      if (!(error instanceof I2lError)) throw error;
    }
  }
  return usable;
}
