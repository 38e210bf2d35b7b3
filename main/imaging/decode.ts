import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import type sharpOf from 'sharp';
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import { fileError, I2lError, type ErrorReason } from '../contract/errors.ts';

export type { Metadata, Sharp };

/** The only door to sharp for reading images. */

/** A picture has to be worth encoding, and to be read in seconds. */
export const MIN_SIDE = 16;
export const MAX_PIXELS = 150_000_000;

/** SVG is left out on purpose: it is a program that draws and may name other files. */
const FORMATS = ['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif', 'avif'];

export interface ImageHeader {
  readonly metadata: Metadata;
  /** Of the whole file. */
  readonly fileBytes: number;
}

/**
 * Reads an image file's header alone, and refuses what can't be used.
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function readHeader(file: string): Promise<ImageHeader> {
  const fileBytes = withFile(file, (bytes) => bytes);
  if (fileBytes === 0) throw emptyFile(file);
  const sharp = await loadSharp();
  // Brackets at a name's end are options to libvips.
  const metadata = await readMetadata(file, sharp(file.endsWith(']') ? readImageBytes(file) : file, AS_STORED));
  checkSize(file, metadata);
  return { metadata, fileBytes };
}

export interface OpenImage extends ImageHeader {
  /** From its bytes on: in sRGB, as it is stored, which `metadata.orientation` tells. */
  readonly decode: () => Sharp;
}

/**
 * Reads the header of an image and refuses what can't be used.
 * @param file for errors; @param bytes its content
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE
 */
export async function openImage(file: string, bytes: Uint8Array): Promise<OpenImage> {
  if (bytes.length === 0) throw emptyFile(file);
  const sharp = await loadSharp();
  const metadata = await readMetadata(file, sharp(bytes, AS_STORED));
  checkSize(file, metadata);
  return { decode: () => toSrgb(sharp(bytes, AS_STORED), metadata), metadata, fileBytes: bytes.length };
}

const AS_STORED: SharpOptions = { limitInputPixels: false, failOn: 'warning', animated: false };

/** 15 MB that a job without images to read doesn't take. */
async function loadSharp(): Promise<typeof sharpOf> {
  const { default: sharp } = await import('sharp');
  sharp.cache(false); // It keeps decoders, with all that they hold of an image.
  return sharp;
}

/** The whole file. @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE */
export function readImageBytes(file: string): Buffer {
  return withFile(file, () => readFileSync(file));
}

/** Gives a file's or an image's bytes back at once: the garbage collector lets hundreds of megabytes gather. */
export function release({ buffer, byteLength }: Uint8Array): void {
  // Small ones lie in a buffer with others.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

const HASHED_BYTES = 1 << 20;

/**
 * sha256 of an image file's bytes, hex, without decoding it; in pieces, since nothing is known of its size.
 * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE
 */
export function hashImage(file: string): string {
  return withFile(file, () => hashOf(file));
}

function hashOf(file: string): string {
  const hash = createHash('sha256');
  const piece = Buffer.alloc(HASHED_BYTES);
  const handle = openSync(file, 'r');
  try {
    for (let read = readSync(handle, piece); read > 0; read = readSync(handle, piece)) hash.update(piece.subarray(0, read));
  } finally {
    closeSync(handle);
  }
  return hash.digest('hex');
}

/** @param use is given the file's size */
function withFile<T>(file: string, use: (bytes: number) => T): T {
  try {
    const kind = statSync(file);
    // Opening a pipe waits for its writer.
    if (!kind.isFile() && !kind.isDirectory()) throw new Error('it is not a regular file');
    return use(kind.size);
  } catch (error) {
    throw fileError(file, 'read', error);
  }
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
  const converted = image.toColourspace('srgb');
  return icc && space === 'rgb16' ? converted.withIccProfile('srgb', { attach: false }) : converted;
}

/** Of an image that has a header and no whole content. */
export function damagedImage(file: string, cause: unknown): I2lError {
  return invalid(file, 'image-cut-off', `it is damaged or cut off (${firstLine(cause)})`, cause);
}

function emptyFile(file: string): I2lError {
  return invalid(file, 'image-empty', 'it is empty (0 bytes)');
}

function invalid(file: string, reason: ErrorReason, why: string, cause?: unknown): I2lError {
  return new I2lError('IMAGE_INVALID', `${file}: ${why}.`, { file, why, reason }, cause);
}

function firstLine(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}
