import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import { fileError } from '../contract/errors.ts';
import { hashSchema } from '../contract/library-values.ts';
import { cropPreview } from '../imaging/preview.ts';
import type { Library } from '../library/library.ts';

/** What the page shows and saves, by hash and by number; no address holds a path. */

/** Content never changes under its hash. */
const FOR_GOOD = 'private, max-age=31536000, immutable';

type Show = (library: Library, name: string) => Promise<Response | undefined>;

const KINDS: Readonly<Record<string, Show>> = {
  thumbnails: async ({ images }, name) => {
    const hash = hashOf(name);
    return hash === undefined ? undefined : picture(await bytesOf(await images.thumbnail(hash)));
  },
  /** What the encoders will see of it: the middle square. */
  crops: async ({ images }, name) => {
    const hash = hashOf(name);
    return hash === undefined ? undefined : picture(await cropPreview(await images.fileOf(hash)));
  },
  loras: async ({ loras }, name) => {
    const id = /^[1-9]\d{0,14}$/.test(name) ? Number(name) : undefined;
    return id === undefined ? undefined : download(loras.view(id).file);
  },
};

/**
 * Answers /media/KIND/NAME: thumbnails and crops of images by hash, LoRA files by number.
 * @returns undefined for any other address
 * @throws I2lError NOT_IN_LIBRARY, FILE_NOT_FOUND, FILE_UNREADABLE, IMAGE_INVALID
 */
export async function mediaAnswer(library: Library, path: string): Promise<Response | undefined> {
  const [, kind = '', name = ''] = /^\/media\/([a-z]+)\/([0-9a-f]+)$/.exec(path) ?? [];
  return Object.hasOwn(KINDS, kind) ? KINDS[kind]?.(library, name) : undefined;
}

function hashOf(name: string): string | undefined {
  return hashSchema.safeParse(name).data;
}

function picture(bytes: Uint8Array<ArrayBuffer>): Response {
  return new Response(bytes, { headers: { 'content-type': 'image/webp', 'cache-control': FOR_GOOD } });
}

async function bytesOf(file: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

async function download(file: string): Promise<Response> {
  const handle = await opened(file);
  const { size } = await handle.stat();
  const body = Readable.toWeb(createReadStream('', { fd: handle })) as ReadableStream<Uint8Array>;
  return new Response(body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': `${size}`,
      'content-disposition': `attachment; filename*=UTF-8''${encodeName(basename(file))}`,
      'cache-control': 'no-store',
    },
  });
}

/** RFC 8187. */
function encodeName(name: string): string {
  return encodeURIComponent(name).replaceAll(/['()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

async function opened(file: string): ReturnType<typeof open> {
  try {
    return await open(file, 'r');
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}
