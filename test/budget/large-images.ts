import { existsSync } from 'node:fs';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';

const SIDE = 8000;

/** By what is said of them: how they are encoded. Fine-grained enough that their files are large. */
export const LARGE_IMAGES: Readonly<Record<string, (image: Sharp) => Sharp>> = {
  PNG: (image) => image.png({ compressionLevel: 2 }),
  'interlaced PNG': (image) => image.png({ compressionLevel: 2, progressive: true }),
  JPEG: (image) => image.jpeg(),
  'progressive JPEG': (image) => image.jpeg({ progressive: true }),
  WebP: (image) => image.webp({ effort: 0 }),
  AVIF: (image) => image.avif({ effort: 0, quality: 95 }),
};

/** An image of 64 megapixels, made once. @returns its file, in `folder` */
export async function largeImage(folder: string, kind: string): Promise<string> {
  const file = join(folder, `${kind}.img`);
  if (existsSync(file)) return file;
  const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
  const grain = await sharp({ create: { width: 256, height: 256, channels: 3, background: '#888', noise } })
    .png()
    .toBuffer();
  const image = sharp(grain).resize(SIDE, SIDE, { kernel: 'linear' });
  await (LARGE_IMAGES[kind]?.(image) ?? image).toFile(file);
  return file;
}
