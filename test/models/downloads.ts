import { readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { RetryTimes } from '../../main/weights/hub/backoff.ts';
import { downloadFile, type Downloaded, type DownloadOptions, type DownloadRequest } from '../../main/weights/hub/download.ts';
import { HttpClient } from '../../main/weights/hub/http.ts';
import { fileOf, readRepository } from '../../main/weights/hub/repository.ts';
import { makeSource, type HubSource } from '../../main/weights/hub/sources.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import type { HubServer } from './hub-server.ts';

/** Times at which a test doesn't have to wait. */
export const QUICK: RetryTimes = { attempts: 4, firstMs: 5, mostMs: 20, longestAskedMs: 2000 };
export const QUICK_STALLS = { stallMs: 150, leastBytes: 1024 };
export const BLOCK = 64 * 1024;

export function randomBytes(length: number, seed: number): Buffer {
  const next = mulberry32(seed);
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(Math.floor(next() * 2 ** 32), at);
  return bytes;
}

export function sourceOf(server: HubServer, hub: HubSource['hub'] = 'huggingface', token?: string): HubSource {
  return makeSource(hub, server.hubUrl, token);
}

export type Extra = Partial<DownloadOptions> &
  Partial<Omit<DownloadRequest, 'file'>> & { readonly times?: { connectMs: number; answerMs: number } };

/** Asks the hub for a file and downloads it. */
export async function fetchFile(
  server: HubServer,
  repo: string,
  path: string,
  target: string,
  extra: Extra = {},
): Promise<Downloaded> {
  const client = new HttpClient(extra.times ?? { connectMs: 1000, answerMs: 300 });
  try {
    const source = extra.source ?? sourceOf(server);
    const repository = await readRepository(client, source, repo, extra.signal);
    return await downloadFile(
      { source, file: fileOf(repository, path), target, connections: extra.connections, limit: extra.limit, check: extra.check },
      { client, retry: QUICK, stalls: QUICK_STALLS, blockSize: BLOCK, free: async () => Infinity, ...extra },
    );
  } finally {
    await client.close();
  }
}

/** Names beside a target that belong to it, sorted: '' is the target itself. */
export function leftBeside(target: string): string[] {
  const name = basename(target);
  return readdirSync(dirname(target))
    .filter((entry) => entry.startsWith(name))
    .map((entry) => entry.slice(name.length))
    .sort();
}
