import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { publishOver, writePart } from './atomic-copy.ts';
import type { Identity } from './identity.ts';

/** What was found out about files, so that a header is read once: until the file's size or time changes. */
const identitySchema = z.object({
  file: z.string(),
  id: z.string().optional(),
  network: z.string().optional(),
  title: z.string(),
  fingerprint: z.string(),
  tensors: z.number(),
  parameters: z.number(),
  bytes: z.number(),
  dtypes: z.array(z.string()),
  synthetic: z.boolean(),
});
/** A file that is no usable one has an error's sentence in place of an identity. */
const entrySchema = z.object({ stamp: z.string(), identity: identitySchema.optional(), refused: z.string().optional() });
const cacheSchema = z.object({ version: z.string(), entries: z.record(z.string(), entrySchema) });

export interface CachedHeader {
  readonly stamp: string;
  readonly identity?: Identity;
  readonly refused?: string;
}

const MOST_ENTRIES = 20_000;

export class HeaderCache {
  readonly #file: string | undefined;
  readonly #version: string;
  readonly #entries: Map<string, CachedHeader>;
  #isChanged = false;

  private constructor(file: string | undefined, version: string, entries: Map<string, CachedHeader>) {
    this.#file = file;
    this.#version = version;
    this.#entries = entries;
  }

  /** @param version of what identifies files: another one knows other models, and starts anew. */
  static async open(file: string, version: string): Promise<HeaderCache> {
    const parsed = cacheSchema.safeParse(await readJson(file));
    const isOurs = parsed.success && parsed.data.version === version;
    const entries = isOurs ? Object.entries(parsed.data.entries as Record<string, CachedHeader>) : [];
    return new HeaderCache(file, version, new Map(entries.map(([path, entry]) => [path, withKeys(entry)])));
  }

  /** One that is not kept. */
  static inMemory(): HeaderCache {
    return new HeaderCache(undefined, '', new Map());
  }

  get(path: string, stamp: string): CachedHeader | undefined {
    const entry = this.#entries.get(path);
    return entry?.stamp === stamp ? entry : undefined;
  }

  set(path: string, entry: CachedHeader): void {
    // At the end, so that the oldest goes first.
    this.#entries.delete(path);
    this.#entries.set(path, entry);
    this.#isChanged = true;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MOST_ENTRIES) break;
      this.#entries.delete(oldest);
    }
  }

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL: the cache is then as it was, and the caller may go on. */
  async save(): Promise<void> {
    if (this.#file === undefined || !this.#isChanged) return;
    await mkdir(dirname(this.#file), { recursive: true });
    const text = JSON.stringify({ version: this.#version, entries: Object.fromEntries(this.#entries) });
    await publishOver(await writePart(this.#file, text));
    this.#isChanged = false;
  }
}

/** JSON leaves out what is undefined. */
function withKeys({ identity, ...entry }: CachedHeader): CachedHeader {
  return identity ? { ...entry, identity: { ...identity, id: identity.id, network: identity.network } } : entry;
}

/** A cache that can't be read is an empty one. */
async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return undefined;
  }
}
