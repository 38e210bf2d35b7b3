import { readdirSync, statSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import { IMAGE_ENDINGS } from '../contract/library-values.ts';

/**
 * Image files as named, and those within named folders (not their sub-folders), sorted by name.
 * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, NO_IMAGES
 */
export function collectImages(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    try {
      if (!statSync(path).isDirectory()) return [resolve(path)];
    } catch (error) {
      throw fileError(path, 'read', error);
    }
    const images = imagesIn(path);
    if (images.length === 0) throw new I2lError('NO_IMAGES', `${path}: there is no image in this folder.`, { folder: path });
    return images;
  });
}

/** The images in a folder, by the numbers in their names. @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE */
export function imagesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.') && IMAGE_ENDINGS.includes(extname(name).toLowerCase()))
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
      .map((name) => resolve(join(folder, name)));
  } catch (error) {
    throw fileError(folder, 'read', error);
  }
}
