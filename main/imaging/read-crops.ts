import { createHash } from 'node:crypto';
import type { Note } from '../contract/notes.ts';
import { openImage, readImageBytes, release } from './decode.ts';
import { stripBytesWithin } from './decode-memory.ts';
import { notesOn } from './notes.ts';
import { cropByRow } from './preprocess.ts';
import type { Pixels } from './resample.ts';
import { decodeRows, rowsOf } from './rows.ts';

/** The squares of an image that encoders see, by their sides in pixels. */
export type Crops = ReadonlyMap<number, Pixels<Uint8Array>>;

export interface ReadImage {
  /** sha256 of the file's bytes, hex. */
  readonly sha256: string;
  /** sRGB, three channels of 8 bits. */
  readonly crops: Crops;
  /** See {@link notesOn}. */
  readonly notes: readonly Note[];
}

/**
 * Reads an image file as its maker meant it to look, and cuts squares out: turned upright by its EXIF orientation,
 * its colour profile converted to sRGB, transparency laid on white, the first frame of an animation, 8 bits. All of
 * it is decoded, whatever the squares show: what is damaged is refused.
 * @param sides of the squares, pixels; @param memory bytes that it may take, which are enough if leastDecodeBytes says so
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function readCrops(file: string, sides: readonly number[], memory: number): Promise<ReadImage> {
  const bytes = readImageBytes(file);
  try {
    const image = await openImage(file, bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const croppers = sides.map((side) => cropByRow(rowsOf(image.metadata), side));
    const take = (y: number, row: Uint8Array): void => croppers.forEach((cropper) => cropper.add(y, row));
    const isTransparent = await decodeRows(image, { file, stripBytes: stripBytesWithin(image, memory), take });
    const crops = new Map(croppers.map(({ pixels }) => [pixels.width, pixels]));
    return { sha256, crops, notes: notesOn(file, image.metadata, isTransparent) };
  } finally {
    release(bytes);
  }
}
