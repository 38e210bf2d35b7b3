import { readFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { fileError, systemCode } from '../contract/errors.ts';
import { safeName, versionName } from '../weights/file-names.ts';
import type { TrainingImage } from './trainer.ts';

/** Endings that all trainers read; others are skipped by some without a word, so those images become PNG. */
const READ_BY_ALL = ['.jpg', '.jpeg', '.png', '.webp'];

/** Said of an image of which nothing is known. */
const NEUTRAL_CAPTION = 'an image';

/** An image to learn from. */
export interface ImageFile {
  readonly file: string;
  /** What stands in the text file beside it, if not given. */
  readonly caption?: string | undefined;
}

export interface PlannedImage extends TrainingImage {
  readonly source: string;
  readonly toPng: boolean;
}

/** The caption of an image that has none: the trigger words. */
export function defaultCaption(trigger: readonly string[]): string {
  return trigger.length === 0 ? NEUTRAL_CAPTION : trigger.join(', ');
}

/**
 * Each image with the name that it gets, no two alike up to the ending (one text file would be for both) or to
 * upper and lower case, and with its caption: its own, else what stands in the text file beside it, else the default.
 * @throws I2lError FILE_UNREADABLE for a text file that can't be read
 */
export function planImages(images: readonly ImageFile[], fallback: string): PlannedImage[] {
  const taken = new Set<string>();
  return images.map(({ file: source, caption }) => {
    const ending = extname(source);
    const toPng = !READ_BY_ALL.includes(ending.toLowerCase());
    const stem = freeName(safeName(basename(source, ending)), taken);
    return {
      source,
      toPng,
      name: `${stem}${toPng ? '.png' : ending.toLowerCase()}`,
      caption: caption ?? captionBeside(source) ?? fallback,
    };
  });
}

/** The name of an image's text file. */
export function captionName(image: string): string {
  return `${basename(image, extname(image))}.txt`;
}

function freeName(name: string, taken: Set<string>): string {
  for (let version = 1; ; version++) {
    const candidate = versionName(name, version);
    const key = candidate.toLowerCase();
    if (taken.has(key)) continue;
    taken.add(key);
    return candidate;
  }
}

function captionBeside(image: string): string | undefined {
  const file = join(dirname(image), captionName(image));
  try {
    const text = readFileSync(file, 'utf8').replace(/^\uFEFF/, '').trim(); // prettier-ignore
    return text === '' ? undefined : text;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw fileError(file, 'read', error);
  }
}
