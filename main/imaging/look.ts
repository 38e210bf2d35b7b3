import { readFile, stat } from 'node:fs/promises';
import sharp from 'sharp';
import { fileError } from '../contract/errors.ts';
import { damagedImage, openImage, type OpenImage } from './decode.ts';
import { PERCEPTUAL_SIDE, perceptualHash } from './perceptual-hash.ts';

/** Longer side of a thumbnail, in pixels. */
export const THUMBNAIL_SIDE = 320;
const THUMBNAIL_QUALITY = 80;

/** What is known of an image once it was looked at. */
export interface ImageLook {
  /** Of the file's bytes, hex. */
  readonly sha256: string;
  readonly bytes: number;
  readonly mtimeMs: number;
  /** Upright, in pixels. */
  readonly width: number;
  readonly height: number;
  /** As a file ending without the dot: jpg, png, webp, gif, tif, heic, avif. */
  readonly format: string;
  /** See perceptualHash. */
  readonly perceptual: string;
  /** A WebP that fits into THUMBNAIL_SIDE, on white, never enlarged. */
  readonly thumbnail: Uint8Array;
}

/**
 * Decodes an image once, for its thumbnail and its hashes. All of it runs on the thread pools of Node and
 * sharp: the calling thread is free meanwhile.
 * @throws I2lError IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function lookAtImage(file: string): Promise<ImageLook> {
  const { bytes, mtimeMs } = await read(file);
  const opened = await openImage(file, bytes);
  const [sha256, small] = await Promise.all([sha256Of(bytes), shrink(file, opened)]);
  const { width, height } = opened.metadata.autoOrient;
  const [thumbnail, perceptual] = await Promise.all([toWebp(small), hash(small)]);
  return { sha256, bytes: bytes.length, mtimeMs, width, height, format: endingOf(opened), perceptual, thumbnail };
}

async function read(file: string): Promise<{ bytes: Uint8Array<ArrayBuffer>; mtimeMs: number }> {
  try {
    const kind = await stat(file);
    // Opening a pipe waits for its writer.
    if (!kind.isFile() && !kind.isDirectory()) throw new Error('it is not a regular file');
    return { bytes: new Uint8Array(await readFile(file)), mtimeMs: kind.mtimeMs };
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

/** Of all ways to hash, the one that leaves this thread free. */
async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex');
}

interface Small {
  readonly data: Buffer;
  readonly raw: { readonly width: number; readonly height: number; readonly channels: 1 | 2 | 3 | 4 };
}

async function shrink(file: string, { decode }: OpenImage): Promise<Small> {
  try {
    const { data, info } = await decode()
      .autoOrient()
      .resize(THUMBNAIL_SIDE, THUMBNAIL_SIDE, { fit: 'inside', withoutEnlargement: true })
      .flatten({ background: '#ffffff' })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { data, raw: { width: info.width, height: info.height, channels: info.channels } };
  } catch (error) {
    throw damagedImage(file, error);
  }
}

async function toWebp({ data, raw }: Small): Promise<Uint8Array> {
  return sharp(data, { raw }).webp({ quality: THUMBNAIL_QUALITY }).toBuffer();
}

async function hash({ data, raw }: Small): Promise<string> {
  const grey = sharp(data, { raw }).greyscale().resize(PERCEPTUAL_SIDE, PERCEPTUAL_SIDE, { fit: 'fill' });
  return perceptualHash(await grey.raw({ depth: 'uchar' }).toBuffer());
}

function endingOf({ metadata: { format, compression } }: OpenImage): string {
  if (format === 'heif') return compression === 'av1' ? 'avif' : 'heic';
  return { jpeg: 'jpg', tiff: 'tif' }[format as string] ?? format;
}
