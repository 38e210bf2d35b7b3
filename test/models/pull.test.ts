import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PullProgress } from '../../main/contract/models.ts';
import type { CatalogueEntry } from '../../main/weights/catalogue.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { HttpClient } from '../../main/weights/hub/http.ts';
import { pullModels, type PulledFile, type PullOptions, type PullRequest } from '../../main/weights/hub/pull.ts';
import { DownloadRecords } from '../../main/weights/hub/records.ts';
import { removeRecorded } from '../../main/weights/hub/remove.ts';
import { prepareRepair, verifyFound, verifyRecord } from '../../main/weights/hub/verify.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { BLOCK, QUICK, QUICK_STALLS, randomBytes, sourceOf } from './downloads.ts';
import { HubServer } from './hub-server.ts';

/** Small models of a made-up catalogue, from a hub of our own. */
const root = tempFolder();
const licence = { id: 'free', title: 'Free Licence', url: 'https://licence.example', mustAccept: false };
const made = { title: 'A model', network: 'siglip2', tensors: null, parameters: null, bytes: null, licence };

function safetensors(name: string, tensor: string, kilobytes: number): Buffer {
  const path = join(root, `${name}-${kilobytes}`);
  writeSafetensors(path, [
    { name: tensor, dtype: 'F32', shape: [kilobytes * 256], bytes: randomBytes(kilobytes * 1024, kilobytes) },
  ]);
  return readFileSync(path);
}

const single: CatalogueEntry = {
  ...made, id: 'single', hubs: { huggingface: 'org/one', modelscope: 'ms/one' }, file: 'deep/model.safetensors', parts: [],
  fingerprint: fingerprintOf(safetensors('single', 'a', 900)),
}; // prettier-ignore
const sharded: CatalogueEntry = {
  ...made, id: 'sharded', hubs: { huggingface: 'org/many', modelscope: 'org/many' }, file: 'text/m.safetensors.index.json',
  parts: ['text/m-00001-of-00002.safetensors', 'text/m-00002-of-00002.safetensors'], fingerprint: '',
}; // prettier-ignore
const lora: CatalogueEntry = {
  ...made, id: 'lora', network: 'lora', hubs: single.hubs, file: 'bias.safetensors', parts: [], fingerprint: null,
}; // prettier-ignore

function fingerprintOf(bytes: Buffer): string {
  const path = join(root, 'x.safetensors');
  writeFileSync(path, bytes);
  return Checkpoint.open(path).fingerprint();
}

let server: HubServer;
let folder: string;
let records: DownloadRecords;
let notes: string[];
let progress: PullProgress[];

beforeEach(async () => {
  server = await HubServer.start();
  folder = mkdtempSync(join(root, 'models-'));
  records = new DownloadRecords(join(folder, 'records'));
  notes = [];
  progress = [];
  for (const repo of ['org/one', 'ms/one']) {
    server.add(repo, single.file, safetensors('single', 'a', 900));
    server.add(repo, lora.file, safetensors('lora', 'x.lora_A.weight', 3));
  }
  const shards = [safetensors('one', 'b', 500), safetensors('two', 'c', 700)];
  sharded.parts.forEach((path, at) => server.add('org/many', path, shards[at]!));
  const index = { weight_map: { b: 'm-00001-of-00002.safetensors', c: 'm-00002-of-00002.safetensors' } };
  server.add('org/many', sharded.file, Buffer.from(JSON.stringify(index)), false);
});
afterEach(() => server.stop());

async function pull(
  models: readonly CatalogueEntry[],
  request: Partial<PullRequest> = {},
  options: Partial<PullOptions> = {},
): Promise<PulledFile[]> {
  const client = new HttpClient({ connectMs: 1000, answerMs: 1000 });
  try {
    return await pullModels(
      { models, folder, sources: [sourceOf(server)], acceptedLicences: [], ...request },
      {
        client,
        records,
        retry: QUICK,
        stalls: QUICK_STALLS,
        blockSize: BLOCK,
        free: async () => Infinity,
        onNote: ({ message }) => notes.push(message),
        onProgress: (now) => progress.push(now),
        ...options,
      },
    );
  } finally {
    await client.close();
  }
}

const target = (entry: CatalogueEntry, path = entry.file): string => join(folder, entry.hubs.huggingface, path);
const wholeSharded = (): CatalogueEntry => {
  for (const path of [sharded.file, ...sharded.parts]) {
    const file = join(root, 'whole', path);
    mkdirSync(dirname(file), { recursive: true });
    const { content } = server.files.get(`org/many/${path}`)!;
    writeFileSync(file, content.read(0, content.size));
  }
  return { ...sharded, fingerprint: Checkpoint.open(join(root, 'whole', sharded.file)).fingerprint() };
};

describe('a model', () => {
  test('comes to ORG/REPO/PATH, is recorded, and is not asked for again', async () => {
    const [file] = await pull([single]);
    expect(file).toEqual({
      model: 'single',
      path: target(single),
      size: statSync(target(single)).size,
      received: statSync(target(single)).size,
    });
    const [record] = await records.list();
    expect(record).toMatchObject({
      path: target(single),
      model: 'single',
      hub: 'huggingface',
      repo: 'org/one',
      file: single.file,
      revision: server.commit,
      blockSize: BLOCK,
    });
    expect(record?.blocks).toHaveLength(Math.ceil(statSync(target(single)).size / BLOCK));
    const asked = server.requestsTo('storage').length;
    expect((await pull([single])).map(({ received }) => received)).toEqual([0]);
    expect(server.requestsTo('storage')).toHaveLength(asked);
    expect(progress.at(-1)).toMatchObject({
      type: 'download',
      model: 'single',
      file: single.file,
      hub: 'huggingface',
      filesTotal: 1,
      fileBytes: file?.size,
    });
  });

  test('of several files, with small ones in git', async () => {
    const files = await pull([wholeSharded(), lora]);
    expect(files.map(({ path }) => path)).toEqual([
      ...[sharded.file, ...sharded.parts].map((path) => target(sharded, path)),
      target(lora),
    ]);
    expect(Checkpoint.open(target(sharded)).files).toHaveLength(2);
    expect(progress.at(-1)).toMatchObject({ filesTotal: 4, filesDone: 3, total: files.reduce((sum, { size }) => sum + size, 0) });
  });

  test('of another layout: nothing of it is kept', async () => {
    const other = await rejectionOf(pull([{ ...single, fingerprint: 'f'.repeat(32) }]));
    expect(other).toMatchObject({ code: 'MODEL_MISMATCH', fields: { model: 'single', file: target(single) } });
    const parts = await rejectionOf(pull([{ ...sharded, fingerprint: 'f'.repeat(32) }]));
    expect(parts.code).toBe('MODEL_MISMATCH');
    const noLora = await rejectionOf(pull([{ ...lora, file: single.file }]));
    expect(noLora).toMatchObject({ code: 'MODEL_MISMATCH', fields: { expected: 'a LoRA' } });
    expect(await records.list()).toEqual([]);
    expect(readdirSync(folder, { recursive: true }).filter((name) => String(name).includes('safetensors'))).toEqual([]);
  });

  test('that is no safetensors file: nothing of it is kept', async () => {
    server.add('org/one', single.file, Buffer.from('pickled'));
    expect((await rejectionOf(pull([single]))).code).toBe('SAFETENSORS_HEADER');
    expect(existsSync(target(single))).toBe(false);
  });

  test('with room for one and not for all: nothing is begun', async () => {
    const error = await rejectionOf(pull([single, lora], {}, { free: async () => 32 * 2 ** 20 + 922_000 }));
    expect(error.code).toBe('DISK_FULL');
    expect(server.requestsTo('storage')).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that isn't there by that name", async () => {
    server.files.delete(`org/one/${single.file}`);
    const error = await rejectionOf(pull([single]));
    expect(error).toMatchObject({ code: 'HUB_NOT_FOUND', fields: { repo: 'org/one', path: single.file } });
  });
});

describe('a licence to accept', () => {
  const strict = { ...single, licence: { ...licence, id: 'strict', mustAccept: true } };

  test('comes first: nobody is asked before', async () => {
    const error = await rejectionOf(pull([lora, strict]));
    expect(error).toMatchObject({ code: 'LICENCE_NOT_ACCEPTED', fields: { licence: 'strict', url: licence.url, model: 'single' } });
    expect(error.message).toContain(licence.url);
    expect(server.asked).toEqual([]);
  });

  test('and then it comes', async () => {
    await pull([strict], { acceptedLicences: ['strict'] });
    expect(existsSync(target(single))).toBe(true);
  });
});

describe('several sources', () => {
  const both = (): PullRequest['sources'] => [sourceOf(server), sourceOf(server, 'modelscope')];

  test('the quicker one is taken', async () => {
    server.fault = async ({ server: which, path }) => {
      if (which === 'hub' && !path.startsWith('/api/v1/')) await new Promise((resolve) => setTimeout(resolve, 300));
      return false;
    };
    await pull([single], { sources: both() });
    expect((await records.list())[0]).toMatchObject({ hub: 'modelscope', repo: 'ms/one', path: target(single) });
    expect(notes.join()).toContain('ModelScope answers quickest');
  });

  test("the other one is taken where one is off, or hasn't the file", async () => {
    server.fault = ({ path, response }) => path.startsWith('/api/models/') && (response.destroy(), true);
    await pull([single], { sources: both() });
    expect((await records.list())[0]?.hub).toBe('modelscope');
    server.fault = () => false;
    server.files.delete(`ms/one/${lora.file}`);
    await pull([lora], { sources: both() });
    expect((await records.of(target(lora)))?.hub).toBe('huggingface');
  });

  test('what one brought before it failed, the other goes on from', async () => {
    let bytes = 0;
    server.fault = ({ server: which, path, range, response }) => {
      if (which !== 'storage' || !path.startsWith('/org/')) return false;
      bytes += range ? range.end - range.start : 0;
      return bytes > 1_000_000 && (response.writeHead(500).end(), true);
    };
    // In their order: nothing is probed.
    server.fault = slowModelScope(server.fault);
    const [file] = await pull([single], { sources: both() });
    expect((await records.list())[0]?.hub).toBe('modelscope');
    expect(notes.join(' ')).toContain('is tried now');
    expect(file?.received).toBeLessThan(file?.size ?? 0);
    expect(file?.received).toBeGreaterThan(0);
  });

  function slowModelScope(then: HubServer['fault']): HubServer['fault'] {
    return async (exchange) => {
      const isProbe = server.requestsTo('storage').length < 2;
      if (isProbe && exchange.path.startsWith('/api/v1/')) await new Promise((resolve) => setTimeout(resolve, 200));
      return then(exchange);
    };
  }

  test("where all fail, the first one's failure is told", async () => {
    server.fault = ({ response }) => (response.writeHead(404).end(), true);
    expect((await rejectionOf(pull([single], { sources: both() }))).code).toBe('HUB_NOT_FOUND');
  });
});

test('a file that changes at the hub while it comes is asked for anew', async () => {
  const next = safetensors('single', 'a', 900);
  next.writeUInt8(next.readUInt8(next.length - 1) ^ 1, next.length - 1);
  server.fault = ({ server: which, number }) => {
    if (which === 'storage' && number === 3) server.add('org/one', single.file, next);
    return false;
  };
  await pull([single]);
  expect(readFileSync(target(single)).equals(next)).toBe(true);
  expect(notes.join()).toContain('The hub is asked again');
});

describe('what is in the way', () => {
  const put = (bytes: Uint8Array | string): void => {
    mkdirSync(dirname(target(single)), { recursive: true });
    writeFileSync(target(single), bytes);
  };

  test('another file is not touched', async () => {
    put('mine');
    const error = await rejectionOf(pull([single]));
    expect(error).toMatchObject({ code: 'FILE_WRITE_FAILED', fields: { file: target(single) } });
    expect(readFileSync(target(single), 'utf8')).toBe('mine');
  });

  test("the same file is used, and stays the user's", async () => {
    put(safetensors('single', 'a', 900));
    expect((await pull([single]))[0]?.received).toBe(0);
    expect(await records.list()).toEqual([]);
  });

  test('files that a process which died had no time to note are used, whichever hash their hub gives', async () => {
    const model = wholeSharded();
    await pull([model]);
    rmSync(join(folder, 'records'), { recursive: true });
    expect((await pull([model])).map(({ received }) => received)).toEqual([0, 0, 0]);
    const index = target(sharded);
    writeFileSync(index, readFileSync(index, 'utf8').replace('"b"', '"x"'));
    expect((await rejectionOf(pull([model]))).fields).toMatchObject({ file: index, reason: 'in-the-way' });
  });

  test('an older version of ours is replaced', async () => {
    await pull([single]);
    const next = safetensors('single', 'a', 900);
    next.writeUInt8(next.readUInt8(next.length - 1) ^ 1, next.length - 1);
    server.add('org/one', single.file, next);
    await pull([single]);
    expect(readFileSync(target(single)).equals(next)).toBe(true);
    expect(await records.list()).toHaveLength(1);
  });
});

describe('a look at what was downloaded', () => {
  const damage = (path: string, at: number): void => {
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    writeFileSync(path, bytes);
  };

  test('good, damaged, cut, gone', async () => {
    await pull([single]);
    const [record] = await records.list();
    const seen: number[] = [];
    expect(await verifyRecord(record!, { onProgress: ({ bytes }) => seen.push(bytes) })).toMatchObject({
      state: 'good',
      damagedBlocks: 0,
    });
    expect(seen.at(-1)).toBe(record?.size);
    damage(target(single), 3 * BLOCK + 1);
    damage(target(single), 5 * BLOCK);
    expect(await verifyRecord(record!)).toMatchObject({ state: 'damaged', damagedBlocks: 2 });
    expect((await rejectionOf(verifyRecord(record!, { signal: AbortSignal.abort() }))).code).toBe('CANCELLED');
    truncateSync(target(single), 100);
    expect(await verifyRecord(record!)).toMatchObject({ state: 'damaged', bytes: 100 });
    rmSync(target(single));
    expect(await verifyRecord(record!)).toMatchObject({ state: 'missing' });
  });

  test('and a repair fetches the damaged blocks alone', async () => {
    await pull([single]);
    const [record] = await records.list();
    damage(target(single), 3 * BLOCK + 1);
    await prepareRepair(record!);
    const [file] = await pull([single]);
    expect(file?.received).toBe(BLOCK);
    expect(await verifyRecord((await records.list())[0]!)).toMatchObject({ state: 'good' });
  });

  test('one of the Hugging Face cache says its own hash; others need a word from a hub', async () => {
    const bytes = safetensors('single', 'a', 900);
    const { content } = server.files.get(`org/one/${single.file}`)!;
    const blob = join(folder, content.sha256);
    writeFileSync(blob, bytes);
    expect(await verifyFound(blob, 'single')).toMatchObject({ state: 'good', model: 'single' });
    const plain = join(folder, 'plain.safetensors');
    writeFileSync(plain, bytes);
    expect(await verifyFound(plain, 'single')).toMatchObject({ state: 'unknown' });
    expect(await verifyFound(plain, 'single', { sha256: content.sha256 })).toMatchObject({ state: 'good' });
    damage(blob, 50_000);
    expect(await verifyFound(blob, 'single')).toMatchObject({ state: 'damaged' });
  });
});

describe('removal', () => {
  test('takes our file, what a stop left of it, its record and empty folders; nothing else', async () => {
    await pull([single, lora]);
    writeFileSync(join(dirname(target(single)), 'notes.txt'), 'mine');
    const own = (await records.list()).filter(({ model }) => model === 'lora');
    expect((await removeRecorded(own, records)).map(({ path }) => path)).toEqual([target(lora)]);
    expect(existsSync(target(lora))).toBe(false);
    expect(existsSync(target(single))).toBe(true);
    await removeRecorded(await records.list(), records);
    expect(readdirSync(dirname(target(single)))).toEqual(['notes.txt']);
    rmSync(join(dirname(target(single)), 'notes.txt'));
    await pull([single]);
    await removeRecorded(await records.list(), records);
    expect(readdirSync(folder)).toEqual(['records']);
    expect(await records.list()).toEqual([]);
  });

  test('leaves a file that is another by now, and forgets one that is gone', async () => {
    await pull([single]);
    writeFileSync(target(single), 'mine');
    const error = await rejectionOf(removeRecorded(await records.list(), records));
    expect(error).toMatchObject({ code: 'FILE_WRITE_FAILED', fields: { file: target(single) } });
    expect(readFileSync(target(single), 'utf8')).toBe('mine');
    rmSync(target(single));
    await removeRecorded(await records.list(), records);
    expect(await records.list()).toEqual([]);
  });

  test("records that can't be read are none", async () => {
    await pull([single]);
    const [name = ''] = readdirSync(join(folder, 'records'));
    writeFileSync(join(folder, 'records', name), '{"version": 1');
    writeFileSync(join(folder, 'records', 'other.txt'), 'x');
    expect(await records.list()).toEqual([]);
    expect(await records.of(target(single))).toBeUndefined();
    expect(await new DownloadRecords(join(folder, 'nowhere')).list()).toEqual([]);
  });
});
