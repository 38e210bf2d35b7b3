import { I2lError } from './errors.ts';

/** What files that a page brings have to be: the page looks before it sends one, the app before it takes one. */

/** Bytes. Larger are only scans of 90 megapixels and more, in 16 bits and not compressed: those come by their path. */
export const LARGEST_IMAGE = 512 * 2 ** 20;
/** Bytes. Sixty images through three experts are 20 GiB in f32. */
export const LARGEST_LORA = 24 * 2 ** 30;

/** @returns UNSUPPORTED for a name that no LoRA has */
export function refusedName(name: string): I2lError | undefined {
  if (/\.safetensors$/i.test(name)) return undefined;
  const message = `${name}: this is no LoRA; only .safetensors files can be imported.`;
  return new I2lError('UNSUPPORTED', message, { file: name, reason: 'not-safetensors' });
}

/** @param bytes so far, or all that will come. @returns FILE_TOO_LARGE for more than `largest` */
export function refusedSize(file: string, bytes: number, largest: number): I2lError | undefined {
  if (bytes <= largest) return undefined;
  const message = `${file}: files above ${largest / 2 ** 30} GiB are not taken.`;
  return new I2lError('FILE_TOO_LARGE', message, { file, most: largest });
}
