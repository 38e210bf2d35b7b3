import { I2lError } from '../../../main/contract/errors.ts';
import { LARGEST_IMAGE, LARGEST_LORA, refusedName, refusedSize } from '../../../main/contract/uploads.ts';
import { errorFromWire } from '../../../main/contract/wire-errors.ts';

/** What became of one file, and the hash of one that is an image; a place that takes a file again and again knows no duplicates. */
export type Uploaded = { readonly duplicate?: boolean; readonly hash?: string } | { readonly error: I2lError };

export interface SendOptions {
  readonly signal: AbortSignal;
  /** Told how many of the file's bytes have been sent so far. */
  readonly onSent: (bytes: number) => void;
}

/** Puts an image file of the page's into an image set. */
export function uploadImage(setId: number, file: File, options: SendOptions): Promise<Uploaded> {
  return upload(`/uploads/sets/${setId}`, file, LARGEST_IMAGE, options);
}

/** Brings a LoRA file of the page's into the library. */
export async function uploadLora(file: File, options: SendOptions): Promise<Uploaded> {
  const error = refusedName(file.name);
  return error ? { error } : upload('/uploads/loras', file, LARGEST_LORA, options);
}

/** Makes an image file of the page's a LoRA's preview. */
export function uploadPreview(loraId: number, file: File, options: SendOptions): Promise<Uploaded> {
  return upload(`/uploads/loras/${loraId}/preview`, file, LARGEST_IMAGE, options);
}

/** Never throws: what goes wrong belongs to this file alone. @param largest bytes; of more, none is sent */
async function upload(address: string, file: File, largest: number, options: SendOptions): Promise<Uploaded> {
  const error = refusedSize(file.name, file.size, largest);
  if (error) return { error };
  try {
    const { status, data } = await post(`${address}?name=${encodeURIComponent(file.name)}`, file, options);
    if (status !== 200) return { error: errorFromWire(Object.assign(new Error(`HTTP ${status}`), { data })) };
    return data as Uploaded;
  } catch (thrown) {
    const fields = { file: file.name };
    if (options.signal.aborted) return { error: new I2lError('CANCELLED', `${file.name}: the upload was stopped.`, fields) };
    return { error: new I2lError('CONNECTION_LOST', `${file.name}: it did not arrive; try it again.`, fields, thrown) };
  }
}

/** Not by fetch, which doesn't tell how far a large file is. */
function post(address: string, file: File, { signal, onSent }: SendOptions): Promise<{ status: number; data: unknown }> {
  return new Promise((resolve, reject) => {
    // It would not tell again.
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open('POST', address);
    request.responseType = 'json';
    request.upload.addEventListener('progress', ({ loaded }) => onSent(loaded));
    request.addEventListener('load', () => resolve({ status: request.status, data: request.response }));
    for (const end of ['error', 'abort']) request.addEventListener(end, () => reject(new Error(`The request ended: ${end}.`)));
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(file);
  });
}
