import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { RateLimit } from '../../main/weights/hub/rate-limit.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { BLOCK, fetchFile, leftBeside, randomBytes, sourceOf } from './downloads.ts';
import { HubServer } from './hub-server.ts';

const folder = tempFolder();
const BLOCKS = 40;
const bytes = randomBytes(BLOCKS * BLOCK - 5, 7);
let server: HubServer;
let target: string;

beforeEach(async () => {
  server = await HubServer.start();
  server.add('org/name', 'model.safetensors', bytes);
  target = join(mkdtempSync(join(folder, 'run-')), 'model.safetensors');
});
afterEach(() => server.stop());

const fetch = (extra: Parameters<typeof fetchFile>[4] = {}): ReturnType<typeof fetchFile> =>
  fetchFile(server, 'org/name', 'model.safetensors', target, extra);

/** Downloads about `share` of the file and stops. @returns blocks that the journal holds */
async function stopAt(share: number): Promise<number> {
  const stop = new AbortController();
  let sent = 0;
  server.fault = async ({ server: which, range }) => {
    if (which === 'storage' && range) sent += range.end - range.start;
    if (sent > share * bytes.length) await sleep(20).then(() => stop.abort());
    return false;
  };
  const error = await rejectionOf(fetch({ signal: stop.signal, connections: 2 }));
  expect(error.code).toBe('CANCELLED');
  server.fault = () => false;
  expect(leftBeside(target)).toEqual(['.part', '.part.jsonl']);
  return journalled().size;
}

function journalled(): Set<number> {
  const lines = readFileSync(`${target}.part.jsonl`, 'utf8').split('\n').filter(Boolean).slice(1);
  return new Set(lines.map((line) => (JSON.parse(line) as { block: number }).block));
}

function isWhole(): void {
  expect(readFileSync(target).equals(bytes)).toBe(true);
  expect(leftBeside(target)).toEqual(['']);
}

describe('a stopped download goes on', () => {
  test('and fetches what is missing, no more', async () => {
    const had = await stopAt(0.5);
    expect(had).toBeGreaterThan(5);
    const { received } = await fetch();
    expect(received).toBe(bytes.length - had * BLOCK);
    isWhole();
  });

  test('from the other hub, if its file is the same', async () => {
    const had = await stopAt(0.4);
    const { received } = await fetch({ source: sourceOf(server, 'modelscope') });
    expect(received).toBeLessThanOrEqual(bytes.length - (had - 1) * BLOCK);
    expect(received).toBeLessThan(bytes.length);
    isWhole();
  });

  test('from the start, if the hub has another file by now', async () => {
    await stopAt(0.5);
    const other = randomBytes(bytes.length, 8);
    server.add('org/name', 'model.safetensors', other);
    const { received } = await fetch();
    expect(received).toBe(other.length);
    expect(readFileSync(target).equals(other)).toBe(true);
  });

  test.each([
    ['a block that the disk lost', (block: number) => overwrite(block * BLOCK + 100, 'damaged')],
    ['two of them', (block: number) => [block, block + 1].forEach((each) => overwrite(each * BLOCK, 'damaged'))],
  ])('and fetches %s again, and only that', async (what, damage) => {
    const had = await stopAt(0.6);
    const [first = 0] = journalled();
    damage(first);
    const { received } = await fetch();
    const again = what.startsWith('two') ? 2 : 1;
    expect(received).toBe(bytes.length - (had - again) * BLOCK);
    isWhole();
  });

  test.each([
    [
      'the journal is cut in the middle of a line',
      () => truncateSync(`${target}.part.jsonl`, statSync(`${target}.part.jsonl`).size - 20),
      true,
    ],
    [
      'the journal has a line of nonsense',
      () => appendFileSync(`${target}.part.jsonl`, '{"block": -3}\nnull\n{"block":9999,"sha256":"00"}\n'),
      true,
    ],
    ['the journal is empty', () => truncateSync(`${target}.part.jsonl`, 0), false],
    ['the journal is gone', () => rmSync(`${target}.part.jsonl`), false],
    ['the part is gone', () => rmSync(`${target}.part`), false],
    ['the part is cut', () => truncateSync(`${target}.part`, 1000), false],
  ])('when %s', async (_what, damage, usable) => {
    await stopAt(0.5);
    damage();
    const { received } = await fetch();
    if (usable) expect(received).toBeLessThan(bytes.length);
    else expect(received).toBe(bytes.length);
    isWhole();
  });

  test('and nothing is asked of the storage when all blocks are there', async () => {
    await stopAt(0.5);
    const finished = await fetch({ check: () => Promise.reject(new Error('not now')) }).catch((error: unknown) => error);
    expect(finished).toBeInstanceOf(Error);
    const asked = server.requestsTo('storage').length;
    const { received } = await fetch();
    expect(received).toBe(0);
    expect(server.requestsTo('storage')).toHaveLength(asked);
    isWhole();
  });

  function overwrite(at: number, text: string): void {
    const fd = openSync(`${target}.part`, 'r+');
    writeSync(fd, text, at);
    closeSync(fd);
  }
});

describe('pause', () => {
  test('comes at once, even while a server is silent or a limit holds', async () => {
    server.fault = ({ server: which, number }) => which === 'storage' && number > 3;
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 150);
    const start = performance.now();
    const error = await rejectionOf(
      fetch({ signal: stop.signal, limit: new RateLimit(100_000), stalls: { stallMs: 60_000, leastBytes: 1 } }),
    );
    expect(error.code).toBe('CANCELLED');
    expect(performance.now() - start).toBeLessThan(1000);
    server.fault = () => false;
    await fetch();
    isWhole();
  });

  test('before anything came leaves nothing', async () => {
    server.fault = ({ server: which }) => which === 'storage';
    const error = await rejectionOf(fetch({ signal: AbortSignal.timeout(100), stalls: { stallMs: 60_000, leastBytes: 1 } }));
    expect(error.code).toBe('CANCELLED');
    expect(leftBeside(target)).toEqual([]);
    expect((await rejectionOf(fetch({ signal: AbortSignal.abort() }))).code).toBe('CANCELLED');
  });
});

describe('one download of a file at a time', () => {
  test('a second one is told so, and the first one goes on', async () => {
    const first = fetch({ limit: new RateLimit(8_000_000) });
    await sleep(80);
    const second = await rejectionOf(fetch());
    expect(second.code).toBe('DOWNLOAD_BUSY');
    expect(second.message).toContain(target);
    await first;
    isWhole();
  });

  test("the lock of a dead process is nobody's", async () => {
    writeFileSync(`${target}.part.lock`, '999999999 gone');
    // And what another left that died while it took such a lock over.
    writeFileSync(`${target}.part.lock.999999998-0.i2l-part`, '999999999 gone');
    await fetch();
    isWhole();
  });

  test('nor is that of a dead one that had our id, as the last start of a container', async () => {
    writeFileSync(`${target}.part.lock`, `${process.pid} of another start`);
    await fetch();
    isWhole();
  });

  test('nor is an old one that says nothing; a new one is about to say it', async () => {
    writeFileSync(`${target}.part.lock`, '');
    expect((await rejectionOf(fetch())).code).toBe('DOWNLOAD_BUSY');
    utimesSync(`${target}.part.lock`, 1e9, 1e9);
    await fetch();
    isWhole();
  });
});

test('a limit is kept, over all connections', async () => {
  const start = performance.now();
  await fetch({ limit: new RateLimit(2 * bytes.length) });
  const seconds = (performance.now() - start) / 1000;
  // The bucket holds a quarter of a second's worth: that came at once.
  expect(seconds).toBeGreaterThan(0.15);
  isWhole();
  rmSync(target);
  const quick = performance.now();
  await fetch();
  expect((performance.now() - quick) / 1000).toBeLessThan(seconds + 0.5);
});

test('killed at any moment, again and again, and it gets there', async () => {
  const random = mulberry32(Date.now());
  let kills = 0;
  for (;;) {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('slow-download.ts', import.meta.url)), server.hubUrl, target, '1500000'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      // From its first word on; before it, there is only Node's own start to interrupt.
      timer ??= setTimeout(() => child.kill('SIGKILL'), random() * 600);
    });
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(timer);
    if (code === 0) {
      expect(output).toMatch(/^begins\nreceived \d+\n$/);
      break;
    }
    // Whole, if it died between the file's last step and its own end.
    if (existsSync(target)) expect(readFileSync(target).equals(bytes)).toBe(true);
    kills++;
    expect(kills, 'each run brings it on').toBeLessThan(40);
  }
  expect(kills).toBeGreaterThan(1);
  isWhole();
}, 60_000);
