import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

/**
 * The app's icons, drawn from resources/icon.svg each time the app is packaged: icon.ico (Windows), icon.icns
 * (macOS) and sizes/ (Linux). Both formats are a list of PNG images with a table before them.
 */
const SOURCE = fileURLToPath(new URL('../resources/icon.svg', import.meta.url));
const LINUX_SIDES = [16, 24, 32, 48, 64, 128, 256, 512, 1024];
const ICO_SIDES = [16, 24, 32, 48, 64, 128, 256];
/** Apple's types of PNG images, by side in pixels; a side that is there twice is once for screens of double density. */
const ICNS_TYPES = [
  ['ic11', 32],
  ['ic12', 64],
  ['ic07', 128],
  ['ic13', 256],
  ['ic08', 256],
  ['ic14', 512],
  ['ic09', 512],
  ['ic10', 1024],
] as const;
const ICO_HEADER = 6;
const ICO_ENTRY = 16;
const ICNS_HEADER = 8;

/** @param folder is made if need be */
export async function makeIcons(folder: string): Promise<void> {
  const sizes = join(folder, 'sizes');
  await mkdir(sizes, { recursive: true });
  for (const side of LINUX_SIDES) await writeFile(join(sizes, `${side}x${side}.png`), await png(side));
  await writeFile(join(folder, 'icon.ico'), await ico());
  await writeFile(join(folder, 'icon.icns'), await icns());
}

function png(side: number): Promise<Buffer> {
  // The drawing is 1024 points wide, at 72 points an inch.
  return sharp(SOURCE, { density: 72 }).resize(side, side).png({ compressionLevel: 9 }).toBuffer();
}

/** ICONDIR, an ICONDIRENTRY an image, the images. A side of 256 is written as 0. */
async function ico(): Promise<Buffer> {
  const images = await Promise.all(ICO_SIDES.map(png));
  const header = Buffer.alloc(ICO_HEADER + ICO_ENTRY * images.length);
  header.writeUInt16LE(1, 2);
  header.writeUInt16LE(images.length, 4);
  let offset = header.length;
  images.forEach((image, i) => {
    const entry = header.subarray(ICO_HEADER + ICO_ENTRY * i);
    const side = (ICO_SIDES[i] ?? 0) % 256;
    entry.writeUInt8(side, 0);
    entry.writeUInt8(side, 1);
    entry.writeUInt16LE(1, 4);
    entry.writeUInt16LE(32, 6);
    entry.writeUInt32LE(image.length, 8);
    entry.writeUInt32LE(offset, 12);
    offset += image.length;
  });
  return Buffer.concat([header, ...images]);
}

/** 'icns' and the whole length, then each image with its type and length; lengths count their own eight bytes. */
async function icns(): Promise<Buffer> {
  const parts = await Promise.all(ICNS_TYPES.map(async ([type, side]) => chunk(type, await png(side))));
  return chunk('icns', Buffer.concat(parts));
}

function chunk(type: string, data: Buffer): Buffer {
  const header = Buffer.alloc(ICNS_HEADER);
  header.write(type, 'latin1');
  header.writeUInt32BE(ICNS_HEADER + data.length, 4);
  return Buffer.concat([header, data]);
}
