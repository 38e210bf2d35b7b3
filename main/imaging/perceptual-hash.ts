/** An image is shrunk to this side, in grey, before it is hashed. */
export const PERCEPTUAL_SIDE = 32;
/** Lowest frequencies of each direction that make the hash: 8 x 8 bits. */
const KEPT = 8;

/** cosines[u * side + x] of the discrete cosine transform. */
const cosines = Float64Array.from({ length: KEPT * PERCEPTUAL_SIDE }, (_, i) => {
  const [u, x] = [Math.floor(i / PERCEPTUAL_SIDE), i % PERCEPTUAL_SIDE];
  return Math.cos((Math.PI * (2 * x + 1) * u) / (2 * PERCEPTUAL_SIDE));
});

/**
 * Of how an image looks: scaling, compression and small changes of colour alter few of its 64 bits. The signs
 * of its lowest frequencies against their median, Zauner's pHash (https://www.phash.org/docs/pubs/thesis_zauner.pdf).
 * @param grey PERCEPTUAL_SIDE squared values, row by row
 * @returns 16 hex digits
 */
export function perceptualHash(grey: Uint8Array): string {
  const values = lowFrequencies(grey);
  // The first is the image's brightness; it would move the median.
  const sorted = values.slice(1).sort();
  const median = sorted[sorted.length >> 1] ?? 0;
  let bits = 0n;
  for (const value of values) bits = (bits << 1n) | (value > median ? 1n : 0n);
  return bits.toString(16).padStart(16, '0');
}

function lowFrequencies(grey: Uint8Array): Float64Array {
  const rows = new Float64Array(PERCEPTUAL_SIDE * KEPT);
  for (let y = 0; y < PERCEPTUAL_SIDE; y++) {
    for (let u = 0; u < KEPT; u++) {
      let sum = 0;
      for (let x = 0; x < PERCEPTUAL_SIDE; x++) sum += at(grey, y * PERCEPTUAL_SIDE + x) * at(cosines, u * PERCEPTUAL_SIDE + x);
      rows[y * KEPT + u] = sum;
    }
  }
  const values = new Float64Array(KEPT * KEPT);
  for (let v = 0; v < KEPT; v++) {
    for (let u = 0; u < KEPT; u++) {
      let sum = 0;
      for (let y = 0; y < PERCEPTUAL_SIDE; y++) sum += at(rows, y * KEPT + u) * at(cosines, v * PERCEPTUAL_SIDE + y);
      values[v * KEPT + u] = sum;
    }
  }
  return values;
}

/** How many of the 64 bits differ. */
export function hammingDistance(a: string, b: string): number {
  return ones(halfOf(a, 0) ^ halfOf(b, 0)) + ones(halfOf(a, 8) ^ halfOf(b, 8));
}

function halfOf(hash: string, from: number): number {
  return Number.parseInt(hash.slice(from, from + 8), 16);
}

/** https://graphics.stanford.edu/~seander/bithacks.html#CountBitsSetParallel */
export function ones(bits: number): number {
  let v = bits - ((bits >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] as number;
}
