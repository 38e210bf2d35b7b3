import { readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { LARGEST_IMAGE } from '../../main/contract/uploads.ts';
import { fileName } from '../../main/web/uploads.ts';
import { makeImages } from '../library/make-images.ts';
import { makeLora } from '../library/make-loras.ts';
import { tempFolder } from '../unit/temp.ts';
import { ask, askBytes, serveSignedIn, uploadsIn, type Answer, type BytesAnswer, type Serving } from './serving.ts';

const folder = tempFolder();
let serving: Serving;
let headers: { cookie: string; origin: string };
beforeAll(async () => {
  ({ serving, headers } = await serveSignedIn(folder));
});

const get = (path: string): Promise<Answer> => ask(serving.port, path, { headers });
const library = (): Serving['app']['services']['library'] => serving.app.services.library;

const bytes = (path: string, body?: Uint8Array, more: Record<string, string> = {}): Promise<BytesAnswer> =>
  askBytes(serving.port, path, { headers: { ...headers, ...more }, body });

const upload = (id: number, name: string, body: Uint8Array): ReturnType<typeof bytes> =>
  bytes(`/uploads/sets/${id}?name=${encodeURIComponent(name)}`, body);
const uploadsLeft = (): string[] => uploadsIn(folder);

describe('media', () => {
  test('a thumbnail and a crop by the hash of their image; the crop is the middle square', async () => {
    const set = library().sets.create({ name: 'one' });
    const [file] = await makeImages(join(folder, 'in'), 1);
    const wide = join(folder, 'in', 'wide.png');
    const [left, middle] = [
      { r: 255, g: 0, b: 0 },
      { r: 0, g: 0, b: 255 },
    ];
    await sharp({ create: { width: 300, height: 100, channels: 3, background: left } })
      .composite([{ input: { create: { width: 100, height: 100, channels: 3, background: middle } }, left: 100, top: 0 }])
      .png()
      .toFile(wide);
    const { added } = await library().setImport.addImages(set.id, [file!, wide]);
    const thumbnail = await bytes(`/media/thumbnails/${added[0]}`);
    expect([thumbnail.status, thumbnail.type]).toEqual([200, 'image/webp']);
    expect((await get(`/media/thumbnails/${added[0]}`)).headers['cache-control']).toContain('immutable');
    const crop = await bytes(`/media/crops/${added[1]}`);
    const { dominant } = await sharp(crop.body).stats();
    expect([(await sharp(crop.body).metadata()).width, dominant.b > 200, dominant.r < 50]).toEqual([512, true, true]);
  });

  test('a LoRA is downloaded whole, under its own name, whatever is in it', async () => {
    const { file } = makeLora(join(folder, 'it’s (a) "狐".safetensors'), 1);
    const { readLora } = await import('../../main/pipelines/inspect-lora.ts');
    const { id } = library().loras.add(await readLora(file));
    const answer = await get(`/media/loras/${id}`);
    expect(answer.headers).toMatchObject({ 'content-length': `${readFileSync(file).length}`, 'x-content-type-options': 'nosniff' });
    expect(answer.headers['content-disposition']).toMatch(
      /^attachment; filename\*=UTF-8''it%E2%80%99s%20%28a%29%20%22%E7%8B%90%22\.safetensors$/,
    );
    expect((await bytes(`/media/loras/${id}`)).body.equals(readFileSync(file))).toBe(true);
    rmSync(file);
    expect((await get(`/media/loras/${id}`)).status).toBe(404);
  });

  test.each([
    `/media/thumbnails/${'0'.repeat(64)}`,
    '/media/thumbnails/..%2f..%2flibrary.db',
    '/media/thumbnails/abc',
    '/media/loras/99',
    '/media/loras/0',
    '/media/loras/1/../../library.db',
    '/media/constructor/1',
    '/media/library.db',
  ])('%s is not there', async (path) => expect((await get(path)).status).toBe(404));

  test('who has not signed in sees nothing', async () => {
    expect((await ask(serving.port, '/media/loras/1')).status).toBe(401);
    expect(
      (await ask(serving.port, '/uploads/sets/1', { method: 'POST', headers: { origin: serving.origin }, body: 'x' })).status,
    ).toBe(401);
  });
});

describe('uploads', () => {
  test('an image comes into its set by its content, is kept as a copy, and is told when it was there', async () => {
    const set = library().sets.create({ name: 'dropped' });
    const [file] = await makeImages(join(folder, 'drop'), 1);
    const image = readFileSync(file!);
    const { status, body } = await upload(set.id, '../狐 one.png', image);
    const { hash } = JSON.parse(body.toString()) as { hash: string };
    expect([status, JSON.parse(body.toString())]).toEqual([
      200,
      { hash: expect.stringMatching(/^[0-9a-f]{64}$/), duplicate: false },
    ]);
    expect(JSON.parse((await upload(set.id, 'again.png', image)).body.toString())).toEqual({ hash, duplicate: true });
    const [kept] = library().sets.get(set.id).images;
    expect(kept).toMatchObject({ hash, storage: 'copied' });
    expect(kept!.source.endsWith('狐 one.png')).toBe(true);
    expect((await library().sets.check(set.id)).images[0]?.state).toBe('present');
    expect(uploadsLeft()).toEqual([]);
  });

  test('what is no image is refused by its name, and leaves nothing', async () => {
    const set = library().sets.create({ name: 'bad' });
    const { status, body } = await upload(set.id, 'notes.png', Buffer.from('no image'));
    expect([status, body.toString()]).toEqual([422, expect.stringMatching(/"IMAGE_INVALID".*"notes\.png: /)]);
    expect(library().sets.get(set.id).images).toEqual([]);
    expect(uploadsLeft()).toEqual([]);
  });

  test('one that is too large, or for a set that is not there, is refused before it is sent', async () => {
    const set = library().sets.create({ name: 'large' });
    const large = await bytes(`/uploads/sets/${set.id}?name=a.png`, Buffer.from('x'), {
      'content-length': `${LARGEST_IMAGE + 1}`,
      connection: 'close',
    }).catch((error: unknown) => error);
    expect(large).toMatchObject({ status: 413 });
    expect((await upload(12_345, 'a.png', Buffer.from('x'))).status).toBe(404);
    expect((await bytes('/uploads/sets/../1', Buffer.from('x'))).status).toBe(405);
    expect(uploadsLeft()).toEqual([]);
  });

  test('one that is broken off leaves nothing', async () => {
    const set = library().sets.create({ name: 'broken off' });
    const options = {
      host: '127.0.0.1',
      port: serving.port,
      path: `/uploads/sets/${set.id}?name=a.png`,
      method: 'POST',
      agent: false,
    };
    const sent = request({ ...options, headers: { ...headers, 'content-length': '1000000' } });
    sent.on('error', () => undefined);
    sent.write(Buffer.alloc(1000));
    await expect.poll(uploadsLeft).toHaveLength(1);
    sent.destroy();
    await expect.poll(uploadsLeft).toEqual([]);
    expect(library().sets.get(set.id).images).toEqual([]);
  });

  test.each([
    ['', 'image'],
    ['../../etc/passwd', 'passwd'],
    ['C:\\photos\\a.png', 'a.png'],
    ['.hidden.png', 'hidden.png'],
    ['a\u0000b?.png', 'ab-.png'],
    ['con.png', '_con.png'],
    ['..', 'image'],
    ['狐.jpg', '狐.jpg'],
    [`${'x'.repeat(300)}.png`, `${'x'.repeat(180)}.png`],
    [`${'图'.repeat(150)}.png`, `${'图'.repeat(60)}.png`],
    [`${'x'.repeat(178)}🦊.png`, `${'x'.repeat(178)}.png`],
  ])('%j is called %j', (given, wanted) => expect(fileName(given)).toBe(wanted));
});
