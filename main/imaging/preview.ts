import sharp from 'sharp';
import { I2lError } from '../contract/errors.ts';
import { damagedImage, MAX_PIXELS, openImage, readImageBytes } from './decode.ts';

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
    throw new I2lError(
      'IMAGE_INVALID',
      `${file}: no preview can be made of it; choose another image.`,
      { file, reason: 'no-preview' },
      error,
    );
  }
}

/** Side of what is shown of a crop; the encoders see it at 384 and 224 pixels, and Qwen2.5-VL at up to 1036. */
const CROP_SIDE = 512;

/**
 * What the encoders see of an image: its middle square, upright, on white, as WebP.
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function cropPreview(file: string): Promise<Uint8Array<ArrayBuffer>> {
  const { decode } = await openImage(file, readImageBytes(file));
  try {
    const upright = decode().autoOrient();
    const square = upright.resize(CROP_SIDE, CROP_SIDE, { fit: 'cover', position: 'centre' }).flatten({ background: '#ffffff' });
    return new Uint8Array(await square.webp({ quality: 85 }).toBuffer());
  } catch (error) {
    throw damagedImage(file, error);
  }
}
