import sharp from 'sharp';
import { I2lError } from '../contract/errors.ts';
import { MAX_PIXELS, readImageBytes } from './decode.ts';

/** Longest side of a preview: what a grid of LoRAs shows, twice for dense screens. */
export const PREVIEW_SIDE = 512;

/**
 * A small picture of an image file, upright and in sRGB, as PNG.
 * @throws I2lError IMAGE_INVALID, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function previewPng(file: string, side = PREVIEW_SIDE): Promise<Uint8Array> {
  const bytes = readImageBytes(file);
  try {
    return await sharp(bytes, { limitInputPixels: MAX_PIXELS, animated: false })
      .autoOrient()
      .resize(side, side, { fit: 'inside', withoutEnlargement: true })
      .png({ compressionLevel: 9 })
      .toBuffer();
  } catch (error) {
    throw new I2lError('IMAGE_INVALID', `${file}: no preview can be made of it; choose another image.`, { file }, error);
  }
}
