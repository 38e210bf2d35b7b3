import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { collectImages } from '../../main/imaging/list-images.ts';

/**
 * As many different photographs as asked for, made of the example images: the same one twice is encoded once.
 * @returns their files, in `folder`
 */
export async function photographs(folder: string, count: number): Promise<string[]> {
  const examples = collectImages([fileURLToPath(new URL('../../resources/examples', import.meta.url))]);
  return Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const file = join(folder, `photograph-${i}.jpg`);
      const hue = (360 * i) / count;
      await sharp(readFileSync(examples[i % examples.length] as string))
        .modulate({ hue: Math.round(hue) })
        .toFile(file);
      return file;
    }),
  );
}
