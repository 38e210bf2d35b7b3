import { I2lError } from '../../contract/errors.ts';
import type { DownloadProgress } from '../../contract/models.ts';
import { note, type Note } from '../../contract/notes.ts';
import { RETRY_TIMES, type RetryTimes } from './backoff.ts';
import { BlockPool } from './block-pool.ts';
import { fetchBlocks, fetchWhole } from './connection.ts';
import { FileLink } from './file-link.ts';
import { checkSpace, type FreeSpace } from './free-space.ts';
import { cancelled, type HttpClient } from './http.ts';
import type { FinishedBlocks } from './journal.ts';
import { Meter } from './meter.ts';
import { OrderedHash } from './ordered-hash.ts';
import { PartFile, partPath } from './part-file.ts';
import { RateLimit } from './rate-limit.ts';
import type { RemoteFile } from './repository.ts';
import type { HubSource } from './sources.ts';
import { STALL_TIMES, type StallTimes } from './stalls.ts';
import type { Transfer } from './transfer.ts';

export interface DownloadRequest {
  readonly source: HubSource;
  readonly file: RemoteFile;
  /** The file to make. Until it is whole there are TARGET.part and TARGET.part.jsonl, from which a later call goes on. */
  readonly target: string;
  readonly connections?: number | undefined;
  /** Shared with other downloads, if they are to keep to one limit together. */
  readonly limit?: RateLimit | undefined;
  /** Looks at the whole file before it gets its name; what it throws ends the download, and nothing is kept. */
  readonly check?: ((part: string) => void | Promise<void>) | undefined;
}

export interface DownloadOptions {
  readonly client: HttpClient;
  /** Stops it; what is there stays for later. So this is pause, too. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  readonly onNote?: ((note: Note) => void) | undefined;
  readonly retry?: RetryTimes | undefined;
  readonly stalls?: StallTimes | undefined;
  readonly blockSize?: number | undefined;
  readonly free?: FreeSpace | undefined;
}

export interface Downloaded {
  readonly path: string;
  readonly size: number;
  readonly blockSize: number;
  /** sha256 by block, with which a damaged file can be mended later. */
  readonly blocks: FinishedBlocks;
  /** Bytes that came over the network in this run. */
  readonly received: number;
}

/** A journal's line for each; at 100 MB/s a dozen a second. */
const BLOCK_SIZE = 8 * 2 ** 20;
const CONNECTIONS = 4;
const PROGRESS_MS = 250;

/**
 * Downloads one file: several connections, each with a run of blocks; every finished block is noted, so that
 * a stop, a crash or a power cut costs the blocks on their way and no more. The hash of the whole is taken
 * alongside. If it is wrong although every block is as it came, then no block can be named as the wrong one:
 * all are fetched once more, and if none comes otherwise the source itself is at fault.
 * @throws I2lError HUB_UNREACHABLE, HUB_RESPONSE, HUB_NOT_FOUND, RATE_LIMITED, TOKEN_REFUSED, LICENCE_NOT_ACCEPTED,
 * SOURCE_CHANGED, HASH_MISMATCH, DISK_FULL, FILE_WRITE_FAILED, DOWNLOAD_BUSY, CANCELLED
 */
export async function downloadFile(request: DownloadRequest, options: DownloadOptions): Promise<Downloaded> {
  const { file, target } = request;
  const blockSize = options.blockSize ?? BLOCK_SIZE;
  if (options.signal?.aborted) throw cancelled();
  const part = await PartFile.open(target, { size: file.size, blockSize, hash: file.hash });
  let published = false;
  try {
    await checkSpace(target, file.size - bytesOf(part), options.free);
    const received = await fill(part, request, options);
    await request.check?.(partPath(target));
    published = true;
    await part.publish();
    return { path: target, size: file.size, blockSize, blocks: part.blocks, received };
  } catch (error) {
    if (!published) await part.close({ keep: isWorthKeeping(error) });
    throw error;
  }
}

/** Brings all blocks and proves the whole. @returns bytes that came over the network */
async function fill(part: PartFile, request: DownloadRequest, options: DownloadOptions): Promise<number> {
  const { value } = part.head.hash;
  const first = await fillOnce(part, part.earlier, request, options);
  if (first.digest === value) return first.received;
  options.onNote?.(damaged(part.target));
  const before = new Map(part.blocks);
  for (const block of before.keys()) part.forget(block);
  const second = await fillOnce(part, new Map(), request, options);
  if (second.digest === value) return first.received + second.received;
  const differ = [...before].filter(([block, sha256]) => part.blocks.get(block) !== sha256).length;
  const why = differ === 0 ? 'all blocks came the same way twice' : `${differ} blocks came otherwise the second time`;
  throw new I2lError(
    'HASH_MISMATCH',
    `${part.target}: what ${request.file.path} of ${request.file.repo} brings has another hash than its hub says (${why}); nothing was kept. Try another source.`,
    { file: part.target, repo: request.file.repo, path: request.file.path, expected: value, got: second.digest },
  );
}

function damaged(file: string): Note {
  const message = `${file}: its sha256 is wrong; every block is fetched once more, to find the one that was damaged on its way.`;
  return note('DOWNLOAD_DAMAGED', message, { file });
}

interface Filled {
  readonly digest: string;
  readonly received: number;
}

async function fillOnce(
  part: PartFile,
  earlier: FinishedBlocks,
  request: DownloadRequest,
  options: DownloadOptions,
): Promise<Filled> {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]);
  const pool = new BlockPool(part.head.size, part.head.blockSize, earlier.keys());
  const transfer: Transfer = {
    part,
    pool,
    link: new FileLink(options.client, request.source, request.file),
    hash: new OrderedHash(part, pool, earlier, signal),
    meter: new Meter(),
    limit: request.limit ?? new RateLimit(undefined),
    retry: options.retry ?? RETRY_TIMES,
    stalls: options.stalls ?? STALL_TIMES,
    connections: Math.max(1, Math.min(request.connections ?? CONNECTIONS, pool.count)),
    signal,
    quietUntil: 0,
    whole: false,
  };
  const timer = setInterval(() => options.onProgress?.(progressOf(transfer)), PROGRESS_MS);
  try {
    await runRounds(transfer, stop);
    options.onProgress?.(progressOf(transfer));
    return { digest: transfer.hash.digest(), received: transfer.meter.bytes };
  } finally {
    clearInterval(timer);
    stop.abort();
    await transfer.hash.settled();
  }
}

/** Rounds of all connections, until every block is there and hashed: a damaged block needs one more. */
async function runRounds(transfer: Transfer, stop: AbortController): Promise<void> {
  const { pool, hash } = transfer;
  void hash.advance().catch(() => undefined);
  for (;;) {
    const before = pool.bytesDone;
    const failure = pool.isDone ? undefined : await runRound(transfer, stop);
    if (failure && (stop.signal.aborted || pool.bytesDone === before)) throw failure;
    if (!pool.isDone) continue;
    await hash.advance();
    if (transfer.signal.aborted) throw cancelled();
    if (pool.isDone) return;
  }
}

/** @returns the failure of a connection, if one gave up; a hopeless one ends the others too */
async function runRound(transfer: Transfer, stop: AbortController): Promise<I2lError | undefined> {
  let failure: I2lError | undefined;
  const connect = async (): Promise<void> => {
    try {
      await (transfer.whole ? fetchWhole(transfer) : fetchBlocks(transfer));
    } catch (error) {
      const known = I2lError.from(error);
      // What the first one failed with; the rest are stopped, and say only that.
      failure ??= known;
      if (known.fields['transient'] !== true) stop.abort();
    }
  };
  await Promise.all(Array.from({ length: transfer.whole ? 1 : transfer.connections }, connect));
  return failure;
}

function progressOf({ pool, meter, connections, whole }: Transfer): DownloadProgress {
  const bytes = Math.min(pool.size, pool.bytesDone + meter.open);
  const { bytesPerSecond } = meter;
  const etaSeconds = bytesPerSecond > 0 ? (pool.size - bytes) / bytesPerSecond : undefined;
  return {
    bytes,
    total: pool.size,
    bytesPerSecond,
    connections: whole ? 1 : connections,
    ...(etaSeconds === undefined ? {} : { etaSeconds }),
  };
}

function bytesOf({ earlier, head }: PartFile): number {
  return new BlockPool(head.size, head.blockSize, earlier.keys()).bytesDone;
}

/** Blocks are as the journal says, whatever stopped the download, unless they add up to something wrong. */
function isWorthKeeping(error: unknown): boolean {
  const { code } = I2lError.from(error);
  return ![...WRONG_CONTENT].includes(code);
}

const WRONG_CONTENT = [
  'HASH_MISMATCH',
  'MODEL_MISMATCH',
  'MODEL_UNRECOGNISED',
  'SAFETENSORS_HEADER',
  'SAFETENSORS_TENSOR',
  'SAFETENSORS_INDEX',
];
