import { I2lError } from '../contract/errors.ts';
import type { LibraryNote } from '../contract/job.ts';
import type { LoraFacts, MadeFrom } from '../contract/loras.ts';
import type { ImageSet } from '../contract/sets.ts';
import type { Library } from '../library/library.ts';
import { toldByFile } from '../library/lora-metadata.ts';
import { readLora } from '../pipelines/inspect-lora.ts';

/** A LoRA that was just written, and what it was made of. */
export interface WrittenLora {
  readonly file: string;
  readonly note?: LibraryNote | undefined;
  /** Files; the first is its preview. */
  readonly images?: readonly string[] | undefined;
}

/**
 * Reads what is to be known of a LoRA that was written, and its preview. What it returns makes the row, all at
 * once, so that it can be a part of a larger write.
 * @throws I2lError LORA_KEYS, FILE_NOT_FOUND, FILE_UNREADABLE, DISK_FULL, FILE_WRITE_FAILED
 */
export type RecordLora = (lora: WrittenLora) => Promise<() => void>;

export function loraRecorder(library: Library, now: () => number = Date.now): RecordLora {
  return async ({ file, note: { name, setId, parentId } = {}, images = [] }) => {
    const facts = await readLora(file);
    const preview = await takePreview(library, images[0], now);
    return () => {
      // The set and the LoRA that it comes from may have gone since the job was enqueued.
      const set = setId !== undefined && library.sets.has(setId) ? library.sets.get(setId) : undefined;
      const parent = parentId !== undefined && library.loras.has(parentId) ? parentId : undefined;
      const madeFrom = set && asItWas(set, facts);
      const inherited = parent === undefined ? undefined : (library.loras.view(parent).preview ?? undefined);
      library.loras.add(facts, {
        ...{ name, setId: set?.id, parentId: parent, madeFrom, preview: preview ?? inherited, madeAt: now() },
      });
    };
  };
}

/** The images that the file says it was made of, with the captions that they have in the set. */
function asItWas({ name, images }: ImageSet, facts: LoraFacts): MadeFrom {
  const captions = new Map(images.map(({ hash, caption }) => [hash, caption]));
  const told = toldByFile(facts).madeFrom?.images ?? [];
  return { name, images: told.map((image) => ({ ...image, caption: captions.get(image.hash) ?? '' })) };
}

/** Undefined if the file has gone or changed since the LoRA was made of it: a LoRA without a preview is one, too. */
async function takePreview(library: Library, file: string | undefined, now: () => number): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    const image = await library.images.take(file, 'referenced');
    library.database.write(() => library.images.put(image, now()));
    return image.sha256;
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
