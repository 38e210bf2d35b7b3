import type { JobResult } from '../../../../main/contract/engine.ts';

type Comparison = NonNullable<JobResult['comparison']>;

/** Modules that one alone has, then those that are furthest apart. */
export function worstFirst(comparison: Comparison): Comparison {
  const distance = ({ only, relativeError }: Comparison[number]): number => (only ? Infinity : (relativeError ?? -1));
  return comparison.toSorted((a, b) => (distance(a) === distance(b) ? 0 : distance(b) - distance(a)));
}
