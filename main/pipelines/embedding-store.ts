import { I2lError } from '../contract/errors.ts';
import type { Device } from '../onnx/runtime.ts';
import type { EmbeddingCache, EmbeddingKey } from './embedding-cache.ts';
import type { SetImage } from './image-sets.ts';
import type { OpenEncoder } from './models.ts';

/** A job's embeddings by image and encoder: made in this job, or taken from the cache. */
export class EmbeddingStore {
  readonly #device: Device;
  readonly #onTrouble: (error: I2lError) => void;
  #cache: EmbeddingCache | undefined;
  readonly #rows = new Map<string, Float32Array>();
  #cached = 0;

  /** @param onTrouble told once if the cache can't be used; the job goes on without it */
  constructor(device: Device, cache: EmbeddingCache | undefined, onTrouble: (error: I2lError) => void = () => undefined) {
    this.#device = device;
    this.#cache = cache;
    this.#onTrouble = onTrouble;
  }

  /** Embeddings that were taken from the cache. */
  get cached(): number {
    return this.#cached;
  }

  /** Looks images up in the cache. @returns those that an encoder has yet to see */
  load(encoders: readonly OpenEncoder[], images: readonly SetImage[]): SetImage[] {
    return images.filter(({ sha256 }) => encoders.filter((encoder) => !this.#fetch(encoder, sha256)).length > 0);
  }

  #fetch(encoder: OpenEncoder, image: string): boolean {
    const values = this.#tryCache((cache) => cache.get(this.#keyOf(encoder, image)));
    if (values?.length !== encoder.width) return false;
    this.#rows.set(nameOf(encoder, image), values);
    this.#cached++;
    return true;
  }

  /** @param values of one image; copied */
  add(encoder: OpenEncoder, image: string, values: Float32Array): void {
    const own = values.slice();
    this.#rows.set(nameOf(encoder, image), own);
    this.#tryCache((cache) => cache.put(this.#keyOf(encoder, image), own));
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

  /** One encoder's embeddings of these images: [images, width], row by row. */
  rows(encoder: OpenEncoder, images: readonly SetImage[]): Float32Array {
    const all = new Float32Array(images.length * encoder.width);
    images.forEach(({ sha256, file }, i) => {
      const row = this.#rows.get(nameOf(encoder, sha256));
      if (!row) throw new I2lError('INTERNAL', `${file} has no embedding.`, { file });
      all.set(row, i * encoder.width);
    });
    return all;
  }

  #keyOf({ contentId }: OpenEncoder, image: string): EmbeddingKey {
    return { image, encoder: contentId, device: this.#device };
  }
}

function nameOf({ name }: OpenEncoder, image: string): string {
  return `${name} ${image}`;
}
