import { I2lError } from '../../../main/contract/errors.ts';
import { errorFromWire } from '../../../main/contract/wire-errors.ts';

/** What became of one file. */
export type Uploaded = { readonly duplicate: boolean } | { readonly error: I2lError };

/** Puts a file of the page's into an image set. Never throws: what goes wrong belongs to this file alone. */
export async function uploadImage(setId: number, file: File, signal: AbortSignal): Promise<Uploaded> {
  try {
    const address = `/uploads/sets/${setId}?name=${encodeURIComponent(file.name)}`;
    const answer = await fetch(address, { method: 'POST', body: file, signal });
    const data: unknown = await answer.json();
    if (!answer.ok) return { error: errorFromWire(Object.assign(new Error(answer.statusText), { data })) };
    return { duplicate: (data as { duplicate: boolean }).duplicate };
  } catch (thrown) {
    if (signal.aborted) return { error: new I2lError('CANCELLED', `${file.name}: the upload was stopped.`, { file: file.name }) };
    return {
      error: new I2lError('CONNECTION_LOST', `${file.name}: it did not arrive; try it again.`, { file: file.name }, thrown),
    };
  }
}
