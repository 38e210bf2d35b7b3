import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { mulberry32 } from '../../main/weights/synthetic.ts';

/** Small images, each of its own content and look; the same for the same seed. */
export async function makeImage(file: string, seed: number, side = 48): Promise<string> {
  const next = mulberry32(seed + 1);
  const blocks = 6;
  const colours = Array.from({ length: blocks * blocks * 3 }, () => Math.floor(next() * 256));
  await sharp(Uint8Array.from(colours), { raw: { width: blocks, height: blocks, channels: 3 } })
    .resize(side, side, { kernel: 'nearest' })
    .png()
    .toFile(file);
  return file;
}

/** `count` images in a folder, named 'image 1.png' on. @returns their paths */
export async function makeImages(folder: string, count: number, firstSeed = 0, side = 48): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const files: string[] = [];
  for (let i = 0; i < count; i++) files.push(await makeImage(join(folder, `image ${i + 1}.png`), firstSeed + i, side));
  return files;
}

export function makeBroken(file: string): string {
  writeFileSync(file, 'no image');
  return file;
}
