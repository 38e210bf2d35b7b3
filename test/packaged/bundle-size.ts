import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/**
 * What the app is built into and how large each part may become, in bytes: about a sixth above what it was when this was
 * written. One that outgrows its budget has taken in a package, or all of one that was wanted in part; raise the
 * budget once that is known and meant.
 */
export const BUDGETS = [
  { part: 'page, scripts', files: /^renderer\/assets\/.*[.]js$/, raw: 650_000, gzip: 206_000 },
  { part: 'page, styles', files: /^renderer\/assets\/.*[.]css$/, raw: 43_000, gzip: 9200 },
  { part: "app's entry, read at each start", files: /^main\/index[.]js$/, raw: 390_000, gzip: 118_000 },
  { part: 'app, engine and threads', files: /^main\/.*[.]js$/, raw: 1_000_000, gzip: 326_000 },
  { part: 'preload', files: /^preload\/.*[.]cjs$/, raw: 1000, gzip: 600 },
] as const;

export interface Size {
  readonly part: string;
  /** Bytes; each file is compressed by itself, as a server does. */
  readonly raw: number;
  readonly gzip: number;
  /** What is over its budget. */
  readonly over: readonly ('raw' | 'gzip')[];
}

/** @param out the built app: main/, preload/ and renderer/ in it */
export function measure(out: string): Size[] {
  const names = readdirSync(out, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'));
  return BUDGETS.map(({ part, files, ...budget }) => {
    const bytes = names.filter((name) => files.test(name)).map((name) => readFileSync(join(out, name)));
    if (bytes.length === 0) throw new Error(`${out}: there are no files of the part "${part}".`);
    const raw = bytes.reduce((sum, { length }) => sum + length, 0);
    const gzip = bytes.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0);
    const size = { raw, gzip };
    return { part, ...size, over: (['raw', 'gzip'] as const).filter((kind) => size[kind] > budget[kind]) };
  });
}

/** E.g. 'page, styles: 37.0 of 43.0 kB, compressed 7.9 of 9.5 kB'. */
export function sizeLine({ part, raw, gzip }: Size): string {
  const budget = BUDGETS.find((one) => one.part === part) ?? { raw: 0, gzip: 0 };
  const kilobytes = (bytes: number): string => (bytes / 1000).toFixed(1);
  const of = (bytes: number, most: number): string => `${kilobytes(bytes)} of ${kilobytes(most)} kB`;
  return `${part}: ${of(raw, budget.raw)}, compressed ${of(gzip, budget.gzip)}`;
}
