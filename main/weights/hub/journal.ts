import { open, readFile, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { fileError, systemCode } from '../../contract/errors.ts';
import type { ContentHash } from './repository.ts';

/**
 * What of a download is on the disk: a file of lines beside the part, a head that says what is being
 * downloaded, then one line for each finished block with the sha256 of its bytes. A line that a crash cut in
 * two is no line. The blocks are checked against it when a download goes on, so nothing needs to be flushed
 * in step with it.
 */
export interface JournalHead {
  readonly size: number;
  readonly blockSize: number;
  readonly hash: ContentHash;
}

/** sha256 in hex by block. */
export type FinishedBlocks = ReadonlyMap<number, string>;

const VERSION = 1;
const headSchema = z.object({
  version: z.literal(VERSION),
  size: z.int().nonnegative(),
  blockSize: z.int().positive(),
  hash: z.object({ kind: z.enum(['sha256', 'git-sha1']), value: z.string() }),
});
const lineSchema = z.object({ block: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

export class Journal {
  readonly file: string;
  readonly #handle: FileHandle;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(file: string, handle: FileHandle) {
    this.file = file;
    this.#handle = handle;
  }

  /** Starts a new one in place of what was there. @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  static async create(file: string, head: JournalHead, finished: FinishedBlocks = new Map()): Promise<Journal> {
    const lines = [{ version: VERSION, ...head }, ...[...finished].map(([block, sha256]) => ({ block, sha256 }))];
    return Journal.#opened(file, 'w', lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }

  /** Goes on with one. A new line first, in case the last one was cut. @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  static async resume(file: string): Promise<Journal> {
    return Journal.#opened(file, 'a', '\n');
  }

  static async #opened(file: string, flags: string, text: string): Promise<Journal> {
    try {
      const journal = new Journal(file, await open(file, flags));
      await journal.#append(text);
      return journal;
    } catch (error) {
      throw fileError(file, 'write', error);
    }
  }

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  async finish(block: number, sha256: string): Promise<void> {
    await this.#append(`${JSON.stringify({ block, sha256 })}\n`);
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.#handle.close();
  }

  /** In turn: two appends at once could mix. */
  async #append(text: string): Promise<void> {
    const mine = this.#last.catch(() => undefined).then(() => this.#handle.appendFile(text));
    this.#last = mine;
    await mine.catch((error: unknown) => {
      throw fileError(this.file, 'write', error);
    });
  }
}

/** The finished blocks of the same download; undefined if there is none. @throws I2lError FILE_UNREADABLE */
export async function readJournal(file: string, head: JournalHead): Promise<FinishedBlocks | undefined> {
  const read = await readAnyJournal(file);
  if (read === undefined) return undefined;
  const { size, blockSize, hash } = read.head;
  const same = size === head.size && blockSize === head.blockSize && hash.kind === head.hash.kind && hash.value === head.hash.value;
  return same ? read.finished : undefined;
}

/** @throws I2lError FILE_UNREADABLE */
export async function readAnyJournal(file: string): Promise<{ head: JournalHead; finished: FinishedBlocks } | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw fileError(file, 'read', error);
  }
  const [first = '', ...lines] = text.split('\n');
  const head = parseLine(headSchema, first);
  if (head === undefined) return undefined;
  const finished = new Map<number, string>();
  for (const line of lines) {
    const entry = parseLine(lineSchema, line);
    // A block that was fetched again stands there again; the last word counts.
    if (entry && entry.block * head.blockSize < head.size) finished.set(entry.block, entry.sha256);
  }
  return { head, finished };
}

function parseLine<T>(schema: z.ZodType<T>, line: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
