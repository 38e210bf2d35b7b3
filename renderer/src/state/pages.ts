/** A long list of which parts are known: what is asked for next, and what stays while it is read again. */

export const PAGE = 100;

export interface Page<Row> {
  readonly rows: readonly Row[];
  /** Of which reading it is; older ones are shown until they are read again. */
  readonly turn: number;
}

export type Pages<Row> = ReadonlyMap<number, Page<Row>>;

/** The first pages that a range of rows lies in and that are not known of this turn. */
export function missingPages<Row>(pages: Pages<Row>, turn: number, from: number, to: number): number[] {
  const first = Math.max(0, Math.floor(from / PAGE));
  const last = Math.floor(to / PAGE);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i).filter(
    (page) => pages.get(page)?.turn !== turn,
  );
}

export function rowAt<Row>(pages: Pages<Row>, index: number): Row | undefined {
  return pages.get(Math.floor(index / PAGE))?.rows[index % PAGE];
}

/** Pages kept: those far from what is seen are read again when they come into sight. */
const MOST_PAGES = 24;

export function withPage<Row>(pages: Pages<Row>, at: number, page: Page<Row>): Pages<Row> {
  const next = new Map(pages).set(at, page);
  const far = [...next.keys()].sort((a, b) => Math.abs(b - at) - Math.abs(a - at));
  for (const key of far.slice(0, Math.max(0, next.size - MOST_PAGES))) next.delete(key);
  return next;
}
