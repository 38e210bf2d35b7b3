import type { BlockPool } from './block-pool.ts';
import type { RetryTimes } from './backoff.ts';
import type { FileLink } from './file-link.ts';
import type { Meter } from './meter.ts';
import type { OrderedHash } from './ordered-hash.ts';
import type { PartFile } from './part-file.ts';
import type { RateLimit } from './rate-limit.ts';
import type { StallTimes } from './stalls.ts';

/** What all connections of one download share. */
export interface Transfer {
  readonly part: PartFile;
  readonly pool: BlockPool;
  readonly link: FileLink;
  readonly hash: OrderedHash;
  readonly meter: Meter;
  readonly limit: RateLimit;
  readonly retry: RetryTimes;
  readonly stalls: StallTimes;
  readonly connections: number;
  readonly signal: AbortSignal;
  /** Until then nobody asks: the server said so. Milliseconds as performance.now() counts. */
  quietUntil: number;
  /** The server knows no ranges: one connection brings the whole file. */
  whole: boolean;
}
