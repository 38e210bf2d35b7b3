/** Things that lie one after another: the first one's index, and how many. */
export interface Run {
  readonly first: number;
  readonly count: number;
}

/** So many things in runs of at most so many, all full but the last. */
export function runsOf(count: number, most: number): Run[] {
  return Array.from({ length: Math.ceil(count / most) }, (_, i) => ({ first: i * most, count: Math.min(most, count - i * most) }));
}
