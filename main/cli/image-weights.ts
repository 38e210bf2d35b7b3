import { basename, resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import type { SetJob } from '../contract/job.ts';
import { MOST_WEIGHT, weightSchema } from '../contract/library-values.ts';

/**
 * Gives images their weights. @param given each 'IMAGE=WEIGHT', where IMAGE is a path, or a file's name where
 * only one of the images has it. @throws I2lError BAD_ARGUMENT
 */
export function weighted(files: readonly string[], given: readonly string[]): SetJob['images'] {
  const weights = new Map(given.map((text) => parseWeight(text, files)));
  return files.map((file) => ({ file, weight: weights.get(file) ?? 1 }));
}

function parseWeight(text: string, files: readonly string[]): [string, number] {
  const [, image = '', number = ''] = /^(.+)=([^=]+)$/.exec(text) ?? [];
  const weight = Number(number);
  if (image === '' || number.trim() === '' || !weightSchema.safeParse(weight).success)
    throw weightError(`"${text}": expected IMAGE=WEIGHT with a weight from 0 to ${MOST_WEIGHT}`);
  if (files.includes(resolve(image))) return [resolve(image), weight];
  const [named, other] = files.filter((file) => basename(file) === image);
  if (named === undefined) throw weightError(`"${text}": none of the images is ${image}`);
  if (other !== undefined) throw weightError(`"${text}": ${named} and ${other} are both ${image}; give the path`);
  return [named, weight];
}

function weightError(why: string): I2lError {
  return new I2lError('BAD_ARGUMENT', `--weight: ${why}.`, { option: 'weight' });
}
