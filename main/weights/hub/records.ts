import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { HUB_NAMES } from '../../contract/models.ts';
import { fileError, systemCode } from '../../contract/errors.ts';
import { publishOver, writePart } from '../atomic-copy.ts';

/**
 * What the app downloaded itself, one small file for each, beside nobody's model: only these files are ever
 * removed or mended. The blocks' hashes tell which part of a damaged file has to be fetched again.
 */
const recordSchema = z.object({
  version: z.literal(1),
  /** Absolute. */
  path: z.string(),
  /** Catalogue id. */
  model: z.string(),
  hub: z.enum(HUB_NAMES),
  repo: z.string(),
  /** Within the repository. */
  file: z.string(),
  revision: z.string(),
  size: z.int().nonnegative(),
  hash: z.object({ kind: z.enum(['sha256', 'git-sha1']), value: z.string() }),
  blockSize: z.int().positive(),
  /** sha256 in hex, in order. */
  blocks: z.array(z.string()),
  /** ISO 8601. */
  at: z.string(),
});
export type DownloadRecord = z.infer<typeof recordSchema>;

export class DownloadRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** By path; a record that can't be read is none. @throws I2lError FILE_UNREADABLE */
  async list(): Promise<DownloadRecord[]> {
    let names: string[];
    try {
      names = await readdir(this.#folder);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw fileError(this.#folder, 'read', error);
    }
    const records = await Promise.all(names.filter((name) => name.endsWith('.json')).map((name) => read(join(this.#folder, name))));
    return records.filter((record) => record !== undefined).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async of(path: string): Promise<DownloadRecord | undefined> {
    return read(this.#fileFor(path));
  }

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  async add(record: Omit<DownloadRecord, 'version'>): Promise<void> {
    const file = this.#fileFor(record.path);
    await mkdir(this.#folder, { recursive: true }).catch((error: unknown) => {
      throw fileError(this.#folder, 'write', error);
    });
    await publishOver(await writePart(file, `${JSON.stringify({ version: 1, ...record })}\n`));
  }

  async remove(path: string): Promise<void> {
    await rm(this.#fileFor(path), { force: true });
  }

  #fileFor(path: string): string {
    return join(this.#folder, `${createHash('sha256').update(resolve(path)).digest('hex').slice(0, 32)}.json`);
  }
}

async function read(file: string): Promise<DownloadRecord | undefined> {
  try {
    return recordSchema.safeParse(JSON.parse(await readFile(file, 'utf8'))).data;
  } catch {
    return undefined;
  }
}
