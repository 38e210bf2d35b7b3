import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { downloadFile } from '../../main/weights/hub/download.ts';
import { HttpClient } from '../../main/weights/hub/http.ts';
import { fileOf, readRepository } from '../../main/weights/hub/repository.ts';
import { makeSource } from '../../main/weights/hub/sources.ts';
import { HubServer, type Content } from './hub-server.ts';

/**
 * npm run test:download: a file of 5 GB comes whole, once stopped in the middle, in the memory that a small one
 * takes. The hub is a process of its own and makes the bytes as they are asked for.
 */
const SIZE = 5 * 10 ** 9;
const MOST_MEMORY = 256 * 2 ** 20;
const [role] = process.argv.slice(2);
await (role === 'hub' ? serve() : run());

async function serve(): Promise<void> {
  const server = await HubServer.start();
  server.add('org/name', 'large.bin', content());
  process.stdout.write(`${server.hubUrl}\n`);
}

/** Each piece of 1 MiB begins with its number, so that a piece in the wrong place shows. */
function content(): Content {
  const piece = 1 << 20;
  const read = (start: number, end: number): Uint8Array => {
    const bytes = Buffer.alloc(end - start);
    for (let at = Math.ceil(start / piece) * piece; at + 8 <= end; at += piece) bytes.writeBigUInt64LE(BigInt(at), at - start);
    return bytes;
  };
  const hash = createHash('sha256');
  for (let at = 0; at < SIZE; at += piece) hash.update(read(at, Math.min(SIZE, at + piece)));
  return { size: SIZE, sha256: hash.digest('hex'), read };
}

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'i2l-large-'));
  const hub = spawn(process.execPath, [fileURLToPath(import.meta.url), 'hub'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const url = await new Promise<string>((resolve) => hub.stdout.once('data', (line: Buffer) => resolve(line.toString().trim())));
    await download(url, join(folder, 'large.bin'));
  } finally {
    hub.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function download(url: string, target: string): Promise<void> {
  const client = new HttpClient();
  const source = makeSource('huggingface', url);
  const file = fileOf(await readRepository(client, source, 'org/name'), 'large.bin');
  const stop = new AbortController();
  const start = performance.now();
  let before = 0;
  const onProgress = ({ bytes }: { bytes: number }): void => {
    before = bytes;
    if (bytes > SIZE / 3) stop.abort();
  };
  await downloadFile({ source, file, target }, { client, signal: stop.signal, onProgress }).catch(() => undefined);
  if (!stop.signal.aborted) throw new Error('it was not stopped in the middle');
  const { received, size } = await downloadFile({ source, file, target }, { client });
  await client.close();
  const seconds = (performance.now() - start) / 1000;
  const memory = process.resourceUsage().maxRSS * 1024;
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
  console.log(
    `${megabytes(size)} in ${seconds.toFixed(0)} s, stopped at ${megabytes(before)}, ${megabytes(received)} after that; peak memory ${megabytes(memory)}`,
  );
  if (statSync(target).size !== SIZE) throw new Error('its size is wrong');
  if (received > SIZE - SIZE / 4) throw new Error('too much came a second time');
  if (memory > MOST_MEMORY) throw new Error(`more than ${megabytes(MOST_MEMORY)} of memory`);
}
