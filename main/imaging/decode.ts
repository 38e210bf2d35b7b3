import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Metadata, Sharp } from 'sharp';
import { fileError, I2lError, type ErrorReason } from '../contract/errors.ts';
import type { Pixels } from './resample.ts';

/** The only door to sharp for reading images. */

/** A picture has to be worth encoding, and has to fit in memory while it is decoded (3 bytes a pixel). */
export const MIN_SIDE = 16;
export const MAX_PIXELS = 150_000_000;

/** SVG is left out on purpose: it is a program that draws and may name other files. */
const FORMATS = ['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif', 'avif'];

export interface DecodedImage {
  readonly file: string;
  /** sha256 of the file's bytes, hex. */
  readonly sha256: string;
  /** sRGB, three channels of 8 bits, upright. */
  readonly pixels: Pixels<Uint8Array>;
  /** What was done to it beyond decoding, one sentence each, for the user. */
  readonly notes: readonly string[];
}

/**
 * Decodes an image file as its maker meant it to look: turned upright by its EXIF orientation, its colour
 * profile converted to sRGB, transparency laid on white, the first frame of an animation, 8 bits.
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function decodeImage(file: string): Promise<DecodedImage> {
  const bytes = readImageBytes(file);
  const { image, metadata } = await openImage(file, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const { pixels, transparent } = await toRgb(file, image);
  return { file, sha256, pixels, notes: describe(metadata, transparent) };
}

export interface OpenImage {
  /** Upright and in sRGB once it is decoded, which it is not yet. */
  readonly image: Sharp;
  readonly metadata: Metadata;
}

/**
 * Reads an image's header and refuses what can't be used.
 * @param file for errors; @param bytes its content
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE
 */
export async function openImage(file: string, bytes: Uint8Array): Promise<OpenImage> {
  if (bytes.length === 0) throw invalid(file, 'image-empty', 'it is empty (0 bytes)');
  const { default: sharp } = await import('sharp'); // 15 MB that a job without images to read doesn't take.
  const image = sharp(bytes, { limitInputPixels: false, failOn: 'warning', animated: false });
  const metadata = await readMetadata(file, image);
  checkSize(file, metadata);
  return { image: toSrgb(image, metadata), metadata };
}

/** The whole file. @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE */
export function readImageBytes(file: string): Buffer {
  try {
    const kind = statSync(file);
    // Opening a pipe waits for its writer.
    if (!kind.isFile() && !kind.isDirectory()) throw new Error('it is not a regular file');
    return readFileSync(file);
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

/** sha256 of an image file's bytes, hex, without decoding it. @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE */
export function hashImage(file: string): string {
  return createHash('sha256').update(readImageBytes(file)).digest('hex');
}

async function readMetadata(file: string, image: Sharp): Promise<Metadata> {
  let metadata: Metadata;
  try {
    metadata = await image.metadata();
  } catch (error) {
    throw invalid(file, 'not-an-image', 'it is not an image, or of a kind that is not supported', error);
  }
  if (!FORMATS.includes(metadata.format)) throw invalid(file, 'image-kind', `${metadata.format} files are not supported`);
  return metadata;
}

function checkSize(file: string, { width, height }: Metadata): void {
  const size = `${width} x ${height} pixels`;
  const fields = { file, width, height };
  if (Math.min(width, height) < MIN_SIDE) {
    throw new I2lError('IMAGE_TOO_SMALL', `${file}: ${size} is too small; each side needs ${MIN_SIDE} pixels or more.`, fields);
  }
  if (width * height > MAX_PIXELS) {
    const limit = MAX_PIXELS / 1e6;
    throw new I2lError('IMAGE_TOO_LARGE', `${file}: ${size} is too large; make it smaller than ${limit} megapixels.`, fields);
  }
}

/** sharp brings a profile's colours to sRGB by itself, except those of 16-bit images: they come as Display P3. */
function toSrgb(image: Sharp, { icc, space }: Metadata): Sharp {
  const upright = image.autoOrient().toColourspace('srgb');
  return icc && space === 'rgb16' ? upright.withIccProfile('srgb', { attach: false }) : upright;
}

interface Flattened {
  readonly pixels: Pixels<Uint8Array>;
  /** Whether any pixel was: many images have an alpha channel and no use for it. */
  readonly transparent: boolean;
}

async function toRgb(file: string, image: Sharp): Promise<Flattened> {
  try {
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    const { rgb, transparent } = flattenToRgb(data, channels);
    return { pixels: { data: rgb, width, height, channels: 3 }, transparent };
  } catch (error) {
    throw damagedImage(file, error);
  }
}

/**
 * Any of grey, grey + alpha, RGB, RGB + alpha to RGB on white. sharp has a flatten, which truncates:
 * a third of its values are one too dark.
 */
function flattenToRgb(data: Uint8Array, channels: number): { rgb: Uint8Array; transparent: boolean } {
  if (channels === 3) return { rgb: data, transparent: false };
  const colours = channels < 3 ? 1 : 3;
  const hasAlpha = channels > colours;
  const pixels = data.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  let transparent = false;
  for (let i = 0; i < pixels; i++) {
    const alpha = hasAlpha ? (data[i * channels + colours] as number) : 255;
    transparent ||= alpha < 255;
    for (let channel = 0; channel < 3; channel++) {
      const value = data[i * channels + (colours === 1 ? 0 : channel)] as number;
      rgb[i * 3 + channel] = Math.round((value * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return { rgb, transparent };
}

function describe(metadata: Metadata, transparent: boolean): string[] {
  const { width, height } = metadata;
  const aspect = Math.max(width, height) / Math.min(width, height);
  const notes = [
    (metadata.orientation ?? 1) > 1 && 'turned upright by its EXIF orientation',
    (metadata.pages ?? 1) > 1 && ofSeveral(metadata),
    transparent && 'transparency laid on white',
    metadata.space === 'cmyk' && 'CMYK colours converted to sRGB',
    metadata.icc && metadata.space !== 'cmyk' && !isSrgb(metadata.icc) && 'colour profile converted to sRGB',
    (metadata.depth === 'ushort' || metadata.depth === 'float') && 'reduced to 8 bits a channel',
    metadata.channels <= 2 && metadata.space !== 'cmyk' && 'greyscale: all three channels are the same',
    aspect > 3 && `${width} x ${height}: only its middle square is seen`,
  ];
  return notes.filter((note) => typeof note === 'string');
}

function ofSeveral({ format, pages = 1 }: Metadata): string {
  const [what, parts] = format === 'tiff' ? ['several pages', 'pages'] : ['animated', 'frames'];
  return `${what}: only the first of ${pages} ${parts} is used`;
}

/**
 * Whether a profile calls itself sRGB in its description (ICC.1:2010, 9.2.41; ASCII in version 2, UTF-16 in
 * version 4): then its conversion changes nothing that a user would want to know.
 */
function isSrgb(icc: Buffer): boolean {
  const tags = icc.length < 132 ? 0 : Math.min(icc.readUInt32BE(128), Math.floor((icc.length - 132) / 12));
  for (let at = 132; at < 132 + 12 * tags; at += 12) {
    if (icc.toString('latin1', at, at + 4) !== 'desc') continue;
    const text = icc.subarray(icc.readUInt32BE(at + 4), icc.readUInt32BE(at + 4) + icc.readUInt32BE(at + 8));
    return text.toString('latin1').replaceAll('\0', '').includes('sRGB');
  }
  return false;
}

/** Of an image that has a header and no whole content. */
export function damagedImage(file: string, cause: unknown): I2lError {
  return invalid(file, 'image-cut-off', `it is damaged or cut off (${firstLine(cause)})`, cause);
}

function invalid(file: string, reason: ErrorReason, why: string, cause?: unknown): I2lError {
  return new I2lError('IMAGE_INVALID', `${file}: ${why}.`, { file, why, reason }, cause);
}

function firstLine(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}
