/** More files than this are not written at once: each is open until the last module. */
const MOST_FILES = 128;

/**
 * Sets in groups whose images go through the experts together, in their order. A set is never parted: one that has more
 * images than fit is a group by itself.
 * @param fits how many images the memory allows at once
 */
export function decodePasses<Set>(sets: readonly Set[], imagesOf: (set: Set) => number, fits: number): Set[][] {
  const passes: Set[][] = [];
  let images = 0;
  for (const set of sets) {
    const last = passes.at(-1);
    const joins = last !== undefined && images + imagesOf(set) <= fits && last.length < MOST_FILES;
    if (joins) last.push(set);
    else passes.push([set]);
    images = (joins ? images : 0) + imagesOf(set);
  }
  return passes;
}
