import { I2lError } from '../contract/errors.ts';
import type { SetJob } from '../contract/job.ts';
import { note } from '../contract/notes.ts';
import { hashImage } from '../imaging/decode.ts';
import { goOn } from '../offload/group.ts';
import type { PipelineContext } from './context.ts';

/** An image that takes part in a set; the weight is as the user gave it. */
export interface SetImage {
  readonly file: string;
  /** Of the file's bytes. */
  readonly sha256: string;
  readonly weight: number;
}

export interface ImageSet {
  readonly output: string;
  readonly images: readonly SetImage[];
}

interface Draft {
  readonly output: string;
  readonly files: readonly string[];
  images: SetImage[];
}

/**
 * A job's image sets while it finds out which of their images can be used. Images are known by their content:
 * one that is in several sets is encoded once. A weight of zero leaves an image out.
 */
export class ImageSets {
  readonly #context: PipelineContext;
  readonly #skipBad: boolean;
  readonly #isOne: boolean;
  /** By file, in the order of the files; undefined for one that is good so far. */
  readonly #refused = new Map<string, I2lError | undefined>();
  readonly #told = new Set<string>();
  #drafts: readonly Draft[];
  #failed = 0;

  /** Reads every file once, for its hash. @throws I2lError CANCELLED between two of them */
  static async read(context: PipelineContext, sets: readonly SetJob[], skipBad: boolean): Promise<ImageSets> {
    const hashes = new Map<string, string | I2lError>();
    for (const file of new Set(sets.flatMap(usedFiles))) {
      await goOn(context);
      hashes.set(file, hashOf(file));
    }
    return new ImageSets(context, sets, skipBad, hashes);
  }

  private constructor(
    context: PipelineContext,
    sets: readonly SetJob[],
    skipBad: boolean,
    hashes: ReadonlyMap<string, string | I2lError>,
  ) {
    this.#context = context;
    this.#skipBad = skipBad;
    this.#isOne = sets.length === 1;
    for (const [file, hash] of hashes) this.#refused.set(file, hash instanceof I2lError ? hash : undefined);
    this.#drafts = sets.map((set) => {
      const images = set.images.flatMap(({ file, weight }) => {
        const sha256 = hashes.get(file);
        return weight > 0 && typeof sha256 === 'string' ? [{ file, weight, sha256 }] : [];
      });
      return { output: set.output, files: usedFiles(set), images };
    });
  }

  /** Those that can still be made. */
  get sets(): readonly ImageSet[] {
    return this.#drafts;
  }

  /** Sets that could not be made. */
  get failed(): number {
    return this.#failed;
  }

  /** Each image of the sets once, by content. */
  distinctImages(): SetImage[] {
    return [...new Map(this.#drafts.flatMap(({ images }) => images.map((image) => [image.sha256, image] as const))).values()];
  }

  /** An image that turned out to be of no use leaves every set: another file of the same content has the same fault. */
  refuse({ file: named, sha256 }: SetImage, error: I2lError): void {
    const { code, message, fields, cause } = error;
    const errorFor = (file: string): I2lError =>
      file === named ? error : new I2lError(code, message.replaceAll(named, file), { ...fields, file }, cause);
    for (const draft of this.#drafts) {
      for (const { file } of draft.images.filter((image) => image.sha256 === sha256)) this.#refused.set(file, errorFor(file));
      draft.images = draft.images.filter((image) => image.sha256 !== sha256);
    }
  }

  /**
   * Tells of the images refused so far, and takes out the sets that can't be made because of them: said of
   * each where there are several.
   * @throws I2lError IMAGES_REFUSED naming each refused file, NO_IMAGES, or a lone image's own error, if no
   * set is left
   */
  settle(): void {
    this.#tell();
    let last: I2lError | undefined;
    this.#drafts = this.#drafts.filter((draft) => {
      const error = this.#failureOf(draft);
      if (!error) return true;
      last = error;
      this.#failed++;
      if (!this.#isOne) this.#context.emit({ type: 'set-failed', output: draft.output, error: error.toShape() });
      return false;
    });
    if (this.#drafts.length > 0 || !last) return;
    if (this.#isOne) throw last;
    throw new I2lError('NO_IMAGES', 'None of the image sets can be used.', { sets: this.#failed, reason: 'all-refused' }, last);
  }

  #failureOf({ files, images }: Draft): I2lError | undefined {
    const refused = files.map((file) => this.#refused.get(file)).filter((error) => error !== undefined);
    if (refused.length > 0 && !this.#skipBad) return refusal(refused, files.length);
    if (images.length > 0) return undefined;
    return new I2lError('NO_IMAGES', 'None of the images can be used.', {
      refused: refused.map(({ message }) => message),
      reason: 'all-refused',
    });
  }

  #tell(): void {
    for (const [file, error] of this.#refused) {
      if (!error || this.#told.has(file)) continue;
      this.#told.add(file);
      this.#context.emit({ type: 'note', ...note('IMAGE_REFUSED', `Refused: ${error.message}`, { file }, error) });
    }
  }
}

function usedFiles({ images }: SetJob): string[] {
  return images.filter(({ weight }) => weight > 0).map(({ file }) => file);
}

function hashOf(file: string): string | I2lError {
  try {
    return hashImage(file);
  } catch (error) {
    return I2lError.from(error);
  }
}

function refusal(refused: readonly I2lError[], total: number): I2lError {
  const [first] = refused;
  // The engine's own failure is not the image's: it keeps its code.
  if (refused.length === 1 && total === 1 && first) return first;
  return new I2lError(
    'IMAGES_REFUSED',
    `${refused.length} of ${total} images can't be used; mend them, or leave them out with --skip-bad.`,
    { refused: refused.map(({ message }) => message) },
  );
}
