import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { fileError, I2lError } from '../contract/errors.ts';
import { LARGEST_IMAGE, LARGEST_LORA, refusedName, refusedSize } from '../contract/uploads.ts';
import type { Library } from '../library/library.ts';
import { readLora } from '../pipelines/inspect-lora.ts';
import { safeName } from '../weights/file-names.ts';
import { makeFolder } from '../weights/make-folder.ts';
import { jsonAnswer } from './answers.ts';

/** Files that a page brings: dropped, pasted, or chosen in a browser on another machine. */

const FOLDER = 'uploads';

/** What comes to an address, and what becomes of it. */
interface Upload {
  readonly largest: number;
  /** What the file is called while it is here. @throws I2lError UNSUPPORTED */
  readonly nameOf: (given: string) => string;
  /** @returns the answer's JSON */
  readonly take: (file: string) => Promise<object>;
}

/**
 * Answers POST with a file as its body; whatever comes of it, nothing is left of the upload itself.
 * - /uploads/sets/ID?name=FILE: an image is copied into the library and put into the set; {hash, duplicate}
 * - /uploads/loras/ID/preview?name=FILE: an image is copied into the library and becomes the LoRA's preview; {hash}
 * - /uploads/loras?name=FILE: a LoRA comes into the library, unless one with its tensors is there; {id, duplicate}
 * @returns undefined for any other address
 * @throws I2lError NOT_IN_LIBRARY, UNSUPPORTED, FILE_TOO_LARGE, DISK_FULL, CANCELLED; IMAGE_INVALID, IMAGE_TOO_SMALL,
 * IMAGE_TOO_LARGE of an image; LORA_KEYS, LORA_MISMATCH, SAFETENSORS_HEADER, SAFETENSORS_TENSOR of a LoRA
 */
export async function uploadAnswer(library: Library, request: Request): Promise<Response | undefined> {
  const { pathname, searchParams } = new URL(request.url);
  const upload = uploadAt(library, pathname);
  if (!upload) return undefined;
  // A folder of its own: the name is shown to the user, and two uploads may have the same.
  const folder = join(library.database.folder, FOLDER, randomUUID());
  const file = join(folder, upload.nameOf(searchParams.get('name') ?? ''));
  try {
    await receive(request, file, upload.largest);
    return jsonAnswer(await upload.take(file));
  } catch (thrown) {
    throw told(I2lError.from(thrown), file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What uploads left behind that a process which died was receiving. For the data folder's owner, before it serves. */
export async function clearUploads(dataFolder: string): Promise<void> {
  await rm(join(dataFolder, FOLDER), { recursive: true, force: true });
}

/** Of the places that images are for, which is looked for before a byte is taken. @throws I2lError NOT_IN_LIBRARY */
function uploadAt(library: Library, path: string): Upload | undefined {
  if (path === '/uploads/loras') return { largest: LARGEST_LORA, nameOf: loraName, take: (file) => takeLora(library, file) };
  const [, set, lora] = /^\/uploads\/(?:sets\/([1-9]\d{0,14})|loras\/([1-9]\d{0,14})\/preview)$/.exec(path) ?? [];
  const image = { largest: LARGEST_IMAGE, nameOf: fileName };
  if (set !== undefined) {
    const { id } = library.sets.summary(Number(set));
    return { ...image, take: (file) => takeImage(library, id, file) };
  }
  if (lora === undefined) return undefined;
  const { id } = library.loras.view(Number(lora));
  return { ...image, take: async (file) => ({ hash: await library.takePreview(id, file) }) };
}

async function takeImage(library: Library, setId: number, file: string): Promise<object> {
  const { added, duplicates, failed } = await library.setImport.addImages(setId, [file], { storage: 'copied' });
  const [bad] = failed;
  if (bad) throw I2lError.fromShape(bad.error);
  return { hash: added[0] ?? duplicates[0]?.hash, duplicate: added.length === 0 };
}

async function takeLora(library: Library, file: string): Promise<object> {
  return library.loraFiles.bringInOnce(await readLora(file), 'moved');
}

/** A name for people, safe on every system; the library finds images by their content. */
export function fileName(given: string): string {
  const name = lastPart(given);
  const ending = /\.\w{1,5}$/.exec(name)?.[0] ?? '';
  return safeName(name.slice(0, name.length - ending.length), 'image') + ending;
}

/** Of a file that can be a LoRA. @throws I2lError UNSUPPORTED */
export function loraName(given: string): string {
  const name = lastPart(given);
  const refused = refusedName(name);
  if (refused) throw refused;
  return `${safeName(name.replace(/\.safetensors$/i, ''))}.safetensors`;
}

function lastPart(given: string): string {
  return given.split(/[\\/]/).at(-1) ?? '';
}

async function receive({ body, headers, signal }: Request, file: string, largest: number): Promise<void> {
  const refused = refusedSize(file, Number(headers.get('content-length') ?? 0), largest);
  if (refused) throw refused;
  if (!body) throw new I2lError('BAD_ARGUMENT', 'An upload needs the file as its body.');
  let bytes = 0;
  const counted = new Transform({
    transform: (chunk: Uint8Array, _encoding, done) => {
      bytes += chunk.byteLength;
      done(refusedSize(file, bytes, largest), chunk);
    },
  });
  try {
    await makeFolder(dirname(file));
    // Flushed: a LoRA is moved to its place as it is.
    const kept = createWriteStream(file, { flags: 'wx', flush: true });
    await pipeline(Readable.fromWeb(body as ReadableStream), counted, kept, { signal });
  } catch (error) {
    if (signal.aborted) throw new I2lError('CANCELLED', 'The upload was broken off.', {}, error);
    throw fileError(file, 'write', error);
  }
}

/** By the name that the user knows; where it lay for a moment says nothing. */
function told({ code, message, fields, cause }: I2lError, file: string): I2lError {
  const name = basename(file);
  return new I2lError(code, message.replaceAll(file, name), { ...fields, file: name }, cause);
}
