import type { ImageHeader, Metadata } from './decode.ts';
import { rowBytes } from './rows.ts';

/** What decoding an image takes, from its header. Measured with sharp on Linux x64; test/budget holds it to that. */

/** They are decoded in one strip: of all that is held the pixels are the smaller part, and each strip would take as long. */
const WHOLE_FRAMES = ['gif', 'webp', 'heif'];

/** Of a strip's pixels; smaller ones take no less: malloc keeps several of them, and gives larger ones back at once. */
const LEAST_STRIP_BYTES = 33 << 20;

/** Rows of those that libvips and the decoders hold meanwhile. */
const ROWS_HELD = 512;

/** Bytes that decoding takes at least, with the file's own, beside what sharp takes by itself. */
export function leastDecodeBytes(header: ImageHeader): number {
  return besideStrip(header) + leastStripBytes(header);
}

/** Bytes of the largest strips that keep the decoding within so many bytes, as far as it can be kept. */
export function stripBytesWithin(header: ImageHeader, allowed: number): number {
  return Math.max(leastStripBytes(header), allowed - besideStrip(header));
}

function leastStripBytes({ metadata }: ImageHeader): number {
  const all = metadata.height * rowBytes(metadata);
  return WHOLE_FRAMES.includes(metadata.format) ? all : Math.min(LEAST_STRIP_BYTES, all);
}

function besideStrip(header: ImageHeader): number {
  const { metadata, fileBytes } = header;
  const { width, height } = metadata;
  const rows = Math.min(height, ROWS_HELD) * rowBytes(metadata) * sampleBytes(metadata);
  const copies = FILE_COPIES[metadata.format] ?? 1;
  return copies * fileBytes + rows + (HELD_PER_PIXEL[metadata.format]?.(header) ?? 0) * width * height;
}

/** Of the file's bytes, ours among them, where decoders take copies: libheif and the AV1 decoder one each. */
const FILE_COPIES: Readonly<Record<string, number>> = { heif: 3 };

/** Bytes a pixel of what a decoder holds of the whole image, whichever rows are asked for; none where it goes row by row. */
const HELD_PER_PIXEL: Readonly<Record<string, (header: ImageHeader) => number>> = {
  jpeg: ({ metadata }) => (metadata.isProgressive ? COEFFICIENT_BYTES * samplesPerPixel(metadata) : 0),
  png: ({ metadata }) => (metadata.isProgressive ? pixelBytes(metadata) : 0),
  // One compressed strip of the file may hold the whole image.
  tiff: (header) => (isCompressed(header) ? pixelBytes(header.metadata) : 0),
  gif: () => 4,
  webp: () => 7,
  // AVIF
  heif: ({ metadata }) => (sampleBytes(metadata) === 1 ? 16 : 23),
};

const COEFFICIENT_BYTES = 2;

function samplesPerPixel({ chromaSubsampling, channels }: Metadata): number {
  if (chromaSubsampling === '4:2:0') return 1.5;
  return chromaSubsampling === '4:2:2' ? 2 : channels;
}

function isCompressed({ metadata, fileBytes }: ImageHeader): boolean {
  const { width, height, channels, bitsPerSample = 8 } = metadata;
  return fileBytes < (width * height * channels * bitsPerSample) / 8;
}

function pixelBytes(metadata: Metadata): number {
  return metadata.channels * sampleBytes(metadata);
}

function sampleBytes({ depth }: Metadata): number {
  return { ushort: 2, float: 4 }[depth as string] ?? 1;
}
