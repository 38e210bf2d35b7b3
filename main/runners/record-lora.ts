import { I2lError } from '../contract/errors.ts';
import type { LibraryNote } from '../contract/job.ts';
import type { LoraFacts, MadeFrom } from '../contract/loras.ts';
import type { ImageSet } from '../contract/sets.ts';
import type { TakenImage } from '../library/images.ts';
import type { Library } from '../library/library.ts';
import { mapLimited } from '../library/limited.ts';
import { toldByFile } from '../library/lora-metadata.ts';
import { readLora } from '../pipelines/inspect-lora.ts';

/** A LoRA that was just written, and what it was made of. */
export interface WrittenLora {
  readonly file: string;
  readonly note?: LibraryNote | undefined;
  /** Files that it was made of. */
  readonly images?: readonly string[] | undefined;
}

/**
 * Reads what is to be known of a LoRA that was written, and of its images. What it returns makes the row, all at
 * once, so that it can be a part of a larger write.
 * @throws I2lError LORA_KEYS, FILE_NOT_FOUND, FILE_UNREADABLE, DISK_FULL, FILE_WRITE_FAILED
 */
export type RecordLora = (lora: WrittenLora) => Promise<() => void>;

export function loraRecorder(library: Library, now: () => number = Date.now): RecordLora {
  return async ({ file, note: { name, setId, parentId } = {}, images = [] }) => {
    const facts = await readLora(file);
    const taken = await takeImages(library, images, toldByFile(facts).madeFrom);
    return () => {
      for (const image of taken) {
        library.images.put(image, now());
        library.images.keepSource(image);
      }
      // The set and the LoRA that it comes from may have gone since the job was enqueued.
      const set = setId !== undefined && library.sets.has(setId) ? library.sets.get(setId) : undefined;
      const parent = parentId !== undefined && library.loras.has(parentId) ? parentId : undefined;
      const madeFrom = set && asItWas(set, facts);
      const preview = parent === undefined ? undefined : (library.loras.view(parent).preview ?? undefined);
      library.loras.add(facts, { name, setId: set?.id, parentId: parent, madeFrom, preview, madeAt: now() });
    };
  };
}

/** The images that the file says it was made of, with the captions that they have in the set. */
function asItWas({ name, images }: ImageSet, facts: LoraFacts): MadeFrom {
  const captions = new Map(images.map(({ hash, caption }) => [hash, caption]));
  const told = toldByFile(facts).madeFrom?.images ?? [];
  return { name, images: told.map((image) => ({ ...image, caption: captions.get(image.hash) ?? '' })) };
}

/** More would only wait for each other: decoding uses every core by itself. */
const FILES_AT_ONCE = 4;

/** Images of a LoRA that the library doesn't have, as those of a command; not those whose file is another by now. */
async function takeImages(library: Library, files: readonly string[], madeFrom: MadeFrom | null): Promise<TakenImage[]> {
  const unknown = new Set(madeFrom?.images.map(({ hash }) => hash).filter((hash) => !library.images.has(hash)));
  if (unknown.size === 0) return [];
  const taken = await mapLimited(files, FILES_AT_ONCE, (file) => takeImage(library, file));
  return taken.flatMap((image) => (image && unknown.has(image.sha256) ? [image] : []));
}

/** Undefined if the file has gone or changed since the LoRA was made of it: a LoRA without pictures is one, too. */
async function takeImage(library: Library, file: string): Promise<TakenImage | undefined> {
  try {
    return await library.images.take(file, 'referenced');
  } catch (error) {
    if (UNUSABLE.has(I2lError.from(error).code)) return undefined;
    throw error;
  }
}

const UNUSABLE: ReadonlySet<string> = new Set([
  'IMAGE_INVALID',
  'IMAGE_TOO_SMALL',
  'IMAGE_TOO_LARGE',
  'FILE_NOT_FOUND',
  'FILE_UNREADABLE',
]);
