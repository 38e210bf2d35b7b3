import type { Near } from '../../../main/contract/sets.ts';

/** Order of a set's images, and which of them look alike; pure. */

/** All hashes, with one moved so that it comes to lie at a place. */
export function movedTo(hashes: readonly string[], hash: string, place: number): string[] {
  const others = hashes.filter((other) => other !== hash);
  const to = Math.max(0, Math.min(others.length, place));
  return [...others.slice(0, to), hash, ...others.slice(to)];
}

/** Groups of images that look alike, each in the set's order, so that its first is the one to keep. */
export function groupsOf(hashes: readonly string[], near: readonly Near[]): string[][] {
  const groupOf = new Map(hashes.map((hash) => [hash, [hash]]));
  for (const { a, b } of near) {
    const [one, other] = [groupOf.get(a), groupOf.get(b)];
    if (!one || !other || one === other) continue;
    const joined = [...one, ...other];
    for (const hash of joined) groupOf.set(hash, joined);
  }
  const place = new Map(hashes.map((hash, i) => [hash, i]));
  return [...new Set(groupOf.values())]
    .filter((group) => group.length > 1)
    .map((group) => group.sort((a, b) => (place.get(a) ?? 0) - (place.get(b) ?? 0)));
}
