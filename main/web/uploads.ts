import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { fileError, I2lError } from '../contract/errors.ts';
import type { Library } from '../library/library.ts';
import { jsonAnswer } from './answers.ts';

/** Images that a page brings: dropped, pasted, or chosen in a browser on another machine. */

/** No photograph that can be decoded is larger. */
export const LARGEST_UPLOAD = 512 * 2 ** 20;
const LONGEST_NAME = 150;
const FOLDER = 'uploads';

/**
 * Answers POST /uploads/sets/ID?name=FILE, whose body is an image file: it is copied into the library and put into
 * the set. Whatever comes of it, nothing is left of the upload itself.
 * @returns undefined for any other address; else JSON: the image's hash, and whether the set had it already
 * @throws I2lError NOT_IN_LIBRARY, IMAGE_INVALID, IMAGE_TOO_SMALL, IMAGE_TOO_LARGE, DISK_FULL, CANCELLED
 */
export async function uploadAnswer(library: Library, request: Request): Promise<Response | undefined> {
  const { pathname, searchParams } = new URL(request.url);
  const [, id] = /^\/uploads\/sets\/([1-9]\d{0,14})$/.exec(pathname) ?? [];
  if (id === undefined) return undefined;
  library.sets.summary(Number(id)); // Before a byte is taken.
  // A folder of its own: the name is shown to the user, and two uploads may have the same.
  const folder = join(library.database.folder, FOLDER, randomUUID());
  const file = join(folder, fileName(searchParams.get('name') ?? ''));
  try {
    await receive(request, folder, file);
    const { added, duplicates, failed } = await library.setImport.addImages(Number(id), [file], { storage: 'copied' });
    const [bad] = failed;
    if (bad) throw told(I2lError.fromShape(bad.error), file);
    const hash = added[0] ?? duplicates[0]?.hash;
    return jsonAnswer({ hash, duplicate: added.length === 0 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A name for people, safe on every system; the library finds images by their content. */
export function fileName(given: string): string {
  const last = given.split(/[\\/]/).at(-1) ?? '';
  // eslint-disable-next-line no-control-regex
  const clean = last.replaceAll(/[\u0000-\u001f\u007f<>:"|?*]/g, '_').replace(/^[. ]+|[. ]+$/g, '');
  const ending = /\.\w{1,5}$/.exec(clean)?.[0] ?? '';
  const stem = clean.slice(0, clean.length - ending.length).slice(0, LONGEST_NAME);
  return stem === '' ? `image${ending}` : `${stem}${ending}`;
}

async function receive({ body, headers, signal }: Request, folder: string, file: string): Promise<void> {
  if (Number(headers.get('content-length') ?? 0) > LARGEST_UPLOAD) throw tooLarge(file);
  if (!body) throw new I2lError('BAD_ARGUMENT', 'An upload needs the image as its body.');
  let bytes = 0;
  const counted = new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => {
      bytes += chunk.byteLength;
      done(bytes > LARGEST_UPLOAD ? tooLarge(file) : null, chunk);
    },
  });
  try {
    await mkdir(folder, { recursive: true });
    await pipeline(Readable.fromWeb(body as ReadableStream), counted, createWriteStream(file, { flags: 'wx' }), { signal });
  } catch (error) {
    if (signal.aborted) throw new I2lError('CANCELLED', 'The upload was broken off.', {}, error);
    throw fileError(file, 'write', error);
  }
}

function tooLarge(file: string): I2lError {
  const name = basename(file);
  return new I2lError('IMAGE_TOO_LARGE', `${name}: files above ${LARGEST_UPLOAD / 2 ** 20} MiB are not taken.`, { file: name });
}

/** By the name that the user knows; where it lay for a moment says nothing. */
function told({ code, message, fields, cause }: I2lError, file: string): I2lError {
  const name = basename(file);
  return new I2lError(code, message.replaceAll(file, name), { ...fields, file: name }, cause);
}
