import { isAbsolute, join, relative, sep } from 'node:path';

/** The folders of a data folder that the library writes, and paths as its rows hold them. */

/** Files by content; two levels, so that no folder grows without end. */
export function imageCopy(folder: string, name: string): string {
  return join(folder, 'images', name.slice(0, 2), name);
}

/** May be deleted. */
export function thumbnailFile(folder: string, hash: string): string {
  return join(folder, 'cache', 'thumbnails', hash.slice(0, 2), `${hash}.webp`);
}

export function lorasFolder(folder: string): string {
  return join(folder, 'loras');
}

export function trashFolder(folder: string): string {
  return join(folder, 'trash');
}

/** A path as a row holds it: from the data folder on, with forward slashes, if it lies there. */
export function toStored(folder: string, path: string): string {
  const inside = relative(folder, path);
  const isInside = inside !== '' && inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside);
  return isInside ? inside.replaceAll(sep, '/') : path;
}

/** And back. */
export function fromStored(folder: string, stored: string): string {
  return isAbsolute(stored) ? stored : join(folder, stored);
}

export function isStoredInside(stored: string): boolean {
  return !isAbsolute(stored);
}
