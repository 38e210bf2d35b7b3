import { uploadImage, uploadLora } from '../api/upload.ts';
import { library } from './library.svelte.ts';
import { notices } from './notices.svelte.ts';
import { sets } from './sets.svelte.ts';
import { UploadQueue } from './upload-queue.svelte.ts';

/** Image files on their way into image sets. More at once would only wait for each other: each is decoded as it arrives. */
export const imageUploads = new UploadQueue<number>({
  atOnce: 3,
  send: (file, setId, options) => uploadImage(setId, file, options),
  refresh: () => sets.refresh(),
  arrange: async (setId, arrived) => {
    const hashes = arrived.flatMap((one) => ('hash' in one && one.hash !== undefined && !one.duplicate ? [one.hash] : []));
    if (hashes.length > 1) await notices.attempt(() => sets.putLast(setId, hashes));
  },
});

/** LoRA files on their way into the library. */
export const loraUploads = new UploadQueue<'library'>({
  atOnce: 1,
  send: (file, _, options) => uploadLora(file, options),
  refresh: () => library.refresh(),
});
