import type { Near } from '../contract/sets.ts';
import { ones } from '../imaging/perceptual-hash.ts';

interface Hashed {
  /** sha256, hex. */
  readonly hash: string;
  /** 16 hex digits. */
  readonly perceptual: string;
}

/**
 * All pairs of images that look alike, the nearest first: each with each, some 20 ms for 2,000 images.
 * @param most bits of 64 that may differ
 */
export function nearPairs(images: readonly Hashed[], most: number): Near[] {
  const high = Uint32Array.from(images, ({ perceptual }) => Number.parseInt(perceptual.slice(0, 8), 16));
  const low = Uint32Array.from(images, ({ perceptual }) => Number.parseInt(perceptual.slice(8), 16));
  const pairs: Near[] = [];
  for (let i = 0; i < images.length; i++) {
    for (let j = i + 1; j < images.length; j++) {
      const distance = ones((high[i] as number) ^ (high[j] as number)) + ones((low[i] as number) ^ (low[j] as number));
      if (distance <= most) pairs.push({ a: (images[i] as Hashed).hash, b: (images[j] as Hashed).hash, distance });
    }
  }
  return pairs.sort((a, b) => a.distance - b.distance);
}
