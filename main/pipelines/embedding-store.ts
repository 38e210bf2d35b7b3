import { I2lError } from '../contract/errors.ts';
import type { EmbeddingName } from '../contract/experts.ts';
import type { EmbeddingCache, EmbeddingKey } from './embedding-cache.ts';
import type { EmbeddingPart } from './embeddings-file.ts';
import type { SetImage } from './image-sets.ts';
import type { EncoderOutput, OpenEncoder } from './open-encoders.ts';

/** A job's embeddings by image and encoder: made in this job, or taken from the cache. */
export class EmbeddingStore {
  readonly #arithmetic: string;
  readonly #onTrouble: (error: I2lError) => void;
  #cache: EmbeddingCache | undefined;
  readonly #rows = new Map<string, Float32Array>();
  #cached = 0;

  /**
   * @param arithmetic how values come about: the device, and whether weights have 8 bits
   * @param onTrouble told once if the cache can't be used; the job goes on without it
   */
  constructor(arithmetic: string, cache: EmbeddingCache | undefined, onTrouble: (error: I2lError) => void = () => undefined) {
    this.#arithmetic = arithmetic;
    this.#cache = cache;
    this.#onTrouble = onTrouble;
  }

  /** Embeddings that were taken from the cache. */
  get cached(): number {
    return this.#cached;
  }

  /** Looks images up in the cache. @returns for each encoder those that it has yet to see */
  load(encoders: readonly OpenEncoder[], images: readonly SetImage[]): ReadonlyMap<OpenEncoder, SetImage[]> {
    return new Map(
      encoders.map((encoder) => {
        const isKnown = ({ sha256 }: SetImage): boolean =>
          encoder.outputs.filter((output) => !this.#fetch(encoder, output, sha256)).length === 0;
        return [encoder, images.filter((image) => !isKnown(image))];
      }),
    );
  }

  #fetch(encoder: OpenEncoder, { name, width }: EncoderOutput, image: string): boolean {
    const values = this.#tryCache((cache) => cache.get(this.#keyOf(encoder, name, image)));
    if (values?.length !== width) return false;
    this.#rows.set(rowName(name, image), values);
    this.#cached++;
    return true;
  }

  /** @param values of one image; kept, not copied */
  add(encoder: OpenEncoder, { name }: EncoderOutput, image: string, values: Float32Array): void {
    this.#rows.set(rowName(name, image), values);
    this.#tryCache((cache) => cache.put(this.#keyOf(encoder, name, image), values));
  }

  /** At the end of a job: brings the cache to its limit. */
  trim(): void {
    this.#tryCache((cache) => void cache.trim());
  }

  #tryCache<T>(use: (cache: EmbeddingCache) => T): T | undefined {
    try {
      return this.#cache && use(this.#cache);
    } catch (error) {
      this.#cache = undefined;
      this.#onTrouble(I2lError.from(error));
      return undefined;
    }
  }

  /** All that the encoders made of these images. */
  parts(encoders: readonly OpenEncoder[], images: readonly SetImage[]): EmbeddingPart[] {
    return encoders.flatMap(({ outputs }) =>
      outputs.map(({ name, width }) => ({ name, width, rows: images.map((image) => this.#row(name, image)) })),
    );
  }

  #row(name: EmbeddingName, { sha256, file }: SetImage): Float32Array {
    const row = this.#rows.get(rowName(name, sha256));
    if (!row) throw new I2lError('INTERNAL', `${file} has no embedding.`, { file });
    return row;
  }

  #keyOf({ contentId }: OpenEncoder, embedding: EmbeddingName, image: string): EmbeddingKey {
    return { image, encoder: contentId, embedding, device: this.#arithmetic };
  }
}

function rowName(name: EmbeddingName, image: string): string {
  return `${name} ${image}`;
}
