import { damagedImage, release, type Metadata, type OpenImage, type Sharp } from './decode.ts';
import type { RowSource } from './resample.ts';

/** An image's rows, strip by strip, so that the whole of it is never in memory. */

const COLOURS = 3;

/** How the rows that a file has lie in the upright image. */
interface Layout {
  /** They are its columns. */
  readonly byColumns: boolean;
  /** The last comes first. */
  readonly fromEnd: boolean;
  /** Each is stored from its end. */
  readonly mirrored: boolean;
}

/** EXIF 2.32, tag 0x0112. */
function layoutOf({ orientation = 1 }: Metadata): Layout {
  return {
    byColumns: [5, 6, 7, 8].includes(orientation),
    fromEnd: [3, 4, 6, 7].includes(orientation),
    mirrored: [2, 3, 7, 8].includes(orientation),
  };
}

/** What {@link decodeRows} gives: the upright image's rows, or its columns. */
export function rowsOf(metadata: Metadata): RowSource {
  const { width, height } = metadata.autoOrient;
  return { width, height, channels: COLOURS, byColumns: layoutOf(metadata).byColumns };
}

/** Bytes of a decoded row, at least. */
export function rowBytes({ width, channels }: Metadata): number {
  return width * Math.max(COLOURS, channels);
}

export interface DecodeOptions {
  /** Of the file. */
  readonly file: string;
  /** Of the pixels that are decoded at a time, at most; but a row. */
  readonly stripBytes: number;
  /** Is given each row with its place in the upright image; the next overwrites it. */
  readonly take: (y: number, row: Uint8Array) => void;
}

/**
 * Decodes an image to its last row: sRGB, three channels of 8 bits, transparency laid on white. Each strip begins anew
 * at the file's first row, so fewer are faster; the rows are the same.
 * @returns whether any pixel was transparent
 * @throws I2lError IMAGE_INVALID
 */
export async function decodeRows({ decode, metadata }: OpenImage, { file, stripBytes, take }: DecodeOptions): Promise<boolean> {
  const { width, height } = metadata;
  const { fromEnd, mirrored } = layoutOf(metadata);
  const rows = Math.max(1, Math.floor(stripBytes / rowBytes(metadata)));
  const rgb = new Uint8Array(width * COLOURS);
  let transparent = false;
  for (let top = 0; top < height; top += rows) {
    const strip = decode().extract({ left: 0, top, width, height: Math.min(rows, height - top) });
    const { data, channels } = await rawPixels(file, strip.flop(mirrored));
    const stride = width * channels;
    for (let y = top, at = 0; at < data.length; y++, at += stride) {
      const row = data.subarray(at, at + stride);
      if (channels !== COLOURS) transparent = flatten(row, channels, rgb) || transparent;
      take(fromEnd ? height - 1 - y : y, channels === COLOURS ? row : rgb);
    }
    release(data);
  }
  return transparent;
}

interface RawPixels {
  readonly data: Uint8Array;
  readonly channels: number;
}

/** @throws I2lError IMAGE_INVALID */
async function rawPixels(file: string, image: Sharp): Promise<RawPixels> {
  try {
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    return { data, channels: info.channels };
  } catch (error) {
    throw damagedImage(file, error);
  }
}

/**
 * Any of grey, grey + alpha, RGB + alpha to RGB on white. sharp has a flatten, which truncates: a third of its values
 * are one too dark.
 * @returns whether any pixel was transparent
 */
function flatten(row: Uint8Array, channels: number, rgb: Uint8Array): boolean {
  const colours = channels < COLOURS ? 1 : COLOURS;
  const hasAlpha = channels > colours;
  let transparent = false;
  for (let x = 0; x < row.length / channels; x++) {
    const alpha = hasAlpha ? (row[x * channels + colours] as number) : 255;
    transparent ||= alpha < 255;
    for (let channel = 0; channel < COLOURS; channel++) {
      const value = row[x * channels + (colours === 1 ? 0 : channel)] as number;
      rgb[x * COLOURS + channel] = Math.round((value * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return transparent;
}
