import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openApp } from '../../main/app.ts';
import { LARGEST_LORA } from '../../main/contract/uploads.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { float32Bytes } from '../../main/weights/values.ts';
import { Assets } from '../../main/web/assets.ts';
import { makeSite } from '../../main/web/site.ts';
import { loraName } from '../../main/web/uploads.ts';
import { makeImages } from '../library/make-images.ts';
import { makeLora } from '../library/make-loras.ts';
import { thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { askBytes, serveSignedIn, uploadsIn, type Serving } from './serving.ts';
import { portWire, socketWire } from './wires.ts';

const folder = tempFolder();
let serving: Serving;
let headers: { cookie: string; origin: string };
beforeAll(async () => {
  ({ serving, headers } = await serveSignedIn(folder));
});

interface Sent {
  readonly status: number;
  readonly json: {
    readonly id?: number;
    readonly hash?: string;
    readonly duplicate?: boolean;
    readonly error?: { code: string; message: string };
  };
}

/** The two ways by which a page's requests come: a browser's, and the window's i2l://. */
const WIRES = {
  browser: async (path: string, body: Uint8Array): Promise<Sent> => {
    const { status, body: answer } = await askBytes(serving.port, path, { headers, body });
    return { status, json: JSON.parse(answer.toString()) as Sent['json'] };
  },
  window: async (path: string, body: Uint8Array): Promise<Sent> => {
    const site = makeSite({ assets: new Assets(folder), library: library() });
    const init = { method: 'POST', body: new Blob([new Uint8Array(body)]).stream(), duplex: 'half' as const };
    const answer = await site(new Request(`i2l://app${path}`, init));
    return { status: answer.status, json: (await answer.json()) as Sent['json'] };
  },
};

const addressOf = (name: string): string => `/uploads/loras?name=${encodeURIComponent(name)}`;
const library = (): Serving['app']['services']['library'] => serving.app.services.library;
const uploadsLeft = (): string[] => uploadsIn(folder);
const loraFiles = (): string[] => readdirSync(join(folder, 'home', 'loras')).sort();
const bytesOf = (seed: number, rank?: number): Buffer =>
  readFileSync(makeLora(join(folder, 'in', `${seed}-${rank}.safetensors`), seed, rank).file);

describe.each(Object.entries(WIRES))('a LoRA from the %s', (wire, post) => {
  const seed = wire === 'browser' ? 1 : 100;
  const send = (name: string, body: Uint8Array): Promise<Sent> => post(addressOf(name), body);

  test('is in the library under its name, once, with nothing left of the upload', async () => {
    const lora = bytesOf(seed);
    const first = await send(`${wire} 狐.safetensors`, lora);
    expect(first).toEqual({ status: 200, json: { id: expect.any(Number), duplicate: false } });
    const { id = 0 } = first.json;
    const view = await library().loras.get(id);
    expect(view).toMatchObject({ name: `${wire} 狐`, state: 'present', target: 'qwen-image', rank: { min: 2, max: 2 } });
    expect(view.file).toBe(join(folder, 'home', 'loras', `${wire} 狐.safetensors`));
    expect(readFileSync(view.file).equals(lora)).toBe(true);
    const before = loraFiles();
    expect(await send('another name.safetensors', lora)).toEqual({ status: 200, json: { id, duplicate: true } });
    expect([loraFiles(), uploadsLeft()]).toEqual([before, []]);
  });

  test('of a name that is taken gets one beside it', async () => {
    const [one, other] = [await send('same.safetensors', bytesOf(seed + 1)), await send('same.safetensors', bytesOf(seed + 2))];
    const views = [one, other].map(({ json }) => library().loras.view(json.id ?? 0));
    expect(new Set(views.map(({ file }) => file)).size).toBe(2);
    expect(views.map(({ name }) => name)).toEqual(['same', 'same']);
  });

  test('that comes twice at once is one', async () => {
    const lora = bytesOf(seed + 3);
    const sent = await Promise.all([send('a.safetensors', lora), send('b.safetensors', lora)]);
    expect(sent.map(({ json }) => json.duplicate).sort()).toEqual([false, true]);
    expect(new Set(sent.map(({ json }) => json.id)).size).toBe(1);
  });

  test('that is none is refused by its name, and leaves nothing', async () => {
    const before = loraFiles();
    const model = join(folder, 'in', 'model.safetensors');
    writeSafetensors(model, [{ name: 'blocks.0.weight', dtype: 'F32', shape: [2], bytes: float32Bytes(Float32Array.of(1, 2)) }]);
    expect(await send('notes.safetensors', Buffer.from('no LoRA'))).toMatchObject({
      status: 422,
      json: { error: { code: 'SAFETENSORS_HEADER', message: expect.stringMatching(/^notes\.safetensors: /) } },
    });
    expect(await send('model.safetensors', readFileSync(model))).toMatchObject({
      status: 422,
      json: { error: { code: 'LORA_KEYS', message: expect.stringMatching(/^model\.safetensors: /) } },
    });
    expect(await send('C:\\x\\style.ckpt', bytesOf(seed + 4))).toMatchObject({
      status: 415,
      json: { error: { code: 'UNSUPPORTED', message: expect.stringMatching(/^style\.ckpt: .*\.safetensors/) } },
    });
    expect([loraFiles(), uploadsLeft()]).toEqual([before, []]);
  });
});

describe.each(Object.entries(WIRES))('a preview from the %s', (wire, post) => {
  const seed = wire === 'browser' ? 200 : 300;
  const send = (id: number, body: Uint8Array): Promise<Sent> => post(`/uploads/loras/${id}/preview?name=${wire}.png`, body);

  test('is kept, shown, exported, and can be taken away again', async () => {
    const [file = ''] = await makeImages(join(folder, 'previews'), 1, seed);
    const { json } = await post(addressOf(`with a picture ${wire}.safetensors`), bytesOf(seed));
    const { id = 0 } = json;
    expect(library().loras.view(id).preview).toBeNull();
    const sent = await send(id, readFileSync(file));
    expect(sent).toEqual({ status: 200, json: { hash: expect.stringMatching(/^[0-9a-f]{64}$/) } });
    const hash = sent.json.hash ?? '';
    expect(library().loras.view(id).preview).toBe(hash);
    rmSync(file);
    expect((await askBytes(serving.port, `/media/thumbnails/${hash}`, { headers })).status).toBe(200);
    expect(readFileSync(await library().images.fileOf(hash)).length).toBeGreaterThan(0);
    expect(await library().images.removeUnused(Date.now() + 1)).toBe(0);
    expect(uploadsLeft()).toEqual([]);

    const { api, close } = wire === 'browser' ? await socketWire(serving, headers.cookie) : portWire(serving.app);
    expect(await api.loras.update({ id, change: { preview: null } })).toMatchObject({ preview: null });
    expect(await api.loras.update({ id, change: { preview: hash } })).toMatchObject({ preview: hash });
    await api.loras.update({ id, change: { preview: null } });
    close();
    expect(await library().images.removeUnused(Date.now() + 1)).toBe(1);
  });

  test('that is no image, or of a LoRA that is not there, is refused and changes nothing', async () => {
    const { json } = await post(addressOf('plain.safetensors'), bytesOf(seed + 1));
    const { id = 0 } = json;
    expect(await send(id, Buffer.from('no image'))).toMatchObject({
      status: 422,
      json: { error: { code: 'IMAGE_INVALID', message: expect.stringMatching(/^(browser|window)\.png: /) } },
    });
    expect(library().loras.view(id).preview).toBeNull();
    expect((await send(99_999, Buffer.from('x'))).status).toBe(404);
    expect((await post('/uploads/loras/1/previews?name=a.png', Buffer.from('x'))).status).toBe(405);
    expect(uploadsLeft()).toEqual([]);
  });
});

test('one that is too large is refused before it is sent', async () => {
  const large = await askBytes(serving.port, addressOf('a.safetensors'), {
    headers: { ...headers, 'content-length': `${LARGEST_LORA + 1}`, connection: 'close' },
    body: Buffer.from('x'),
  });
  expect([large.status, large.body.toString()]).toEqual([413, expect.stringMatching(/"FILE_TOO_LARGE".*"a\.safetensors: /)]);
  expect(uploadsLeft()).toEqual([]);
});

test('one that is broken off leaves nothing', async () => {
  const before = loraFiles();
  const options = { host: '127.0.0.1', port: serving.port, path: addressOf('a.safetensors'), method: 'POST', agent: false };
  const sent = request({ ...options, headers: { ...headers, 'content-length': '1000000' } });
  sent.on('error', () => undefined);
  sent.write(Buffer.alloc(1000));
  await expect.poll(uploadsLeft).toHaveLength(1);
  sent.destroy();
  await expect.poll(uploadsLeft).toEqual([]);
  expect(loraFiles()).toEqual(before);
});

test('who has not signed in can bring none', async () => {
  const { status } = await askBytes(serving.port, addressOf('a.safetensors'), {
    headers: { origin: serving.origin },
    body: bytesOf(50),
  });
  expect(status).toBe(401);
});

test('what a process that died was receiving is gone at the next start', async () => {
  const home = join(folder, 'died');
  mkdirSync(join(home, 'uploads', 'one'), { recursive: true });
  writeFileSync(join(home, 'uploads', 'one', 'half.safetensors'), 'half');
  const app = await openApp({ dataFolder: home, name: 'a test' });
  expect(existsSync(join(home, 'uploads'))).toBe(false);
  await app.close();
});

test.each([
  ['../../etc/passwd.safetensors', 'passwd.safetensors'],
  ['C:\\loras\\a.SAFETENSORS', 'a.safetensors'],
  ['a\u0000b?.safetensors', 'ab-.safetensors'],
  ['.safetensors', 'LoRA.safetensors'],
  [`${'x'.repeat(300)}.safetensors`, `${'x'.repeat(180)}.safetensors`],
])('%j is called %j', (given, wanted) => expect(loraName(given)).toBe(wanted));

test.each(['', 'a.pt', 'safetensors', 'a.safetensors.png', '..'])('%j is no name of a LoRA', (given) => {
  expect(thrownBy(() => loraName(given)).code).toBe('UNSUPPORTED');
});
