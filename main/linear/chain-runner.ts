import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap, TensorRange } from '../contract/tensor.ts';
import { chainDims, inOf, lastOf, outOf, type LinearChain, type LinearLayer } from './chain.ts';
import { arrangedPlace, makeProduct, makeRound, makeScatter, MOST_IMAGES, type Product, type Scatter } from './products.ts';
import { ALIGNED_BYTES, WasmMemory } from './wasm-memory.ts';

/** Each image's values begin at a multiple of so many: as many are rounded at once. */
const ROUNDED_AT_ONCE = 8;
/** Weights, or results, that stay in a core's cache between their coming and their use. */
const PIECE_BYTES = 256 << 10;
/** No source reads more at once. */
export const MOST_READ_BYTES = 8 << 20;

/** Brings rows of a weight, from the first on, as they lie in its file. */
export type ReadRows = (weight: TensorRange, first: number, target: Uint8Array) => void;

/** What a chain is computed from. */
interface ChainRun {
  readonly chain: LinearChain;
  readonly images: number;
  /** Of the images. */
  readonly runs: readonly Some[];
  /** What each image's result is multiplied by. */
  readonly factors: Float32Array | undefined;
  readonly source: WeightSource;
}

export interface WeightSource {
  readonly read: ReadRows;
  /** Bytes that are read at once, if a weight has so many; at most {@link MOST_READ_BYTES}. */
  readonly readBytes: number;
}

/** Images that go through a layer together, or rows of a weight. */
interface Some {
  readonly first: number;
  readonly count: number;
}

/** Rows of a weight: their first byte in the memory as well. */
interface Piece extends Some {
  readonly at: number;
}

/** f32 in the memory: the first byte, and bytes from one image's to the next one's. */
interface Rows {
  readonly at: number;
  readonly stride: number;
}

type RowOf = (image: number) => Float32Array;

/** Computes chains of linear layers of bf16, whose weights are read piece by piece into its memory. */
export class ChainRunner {
  readonly memory = new WasmMemory();
  readonly #products = new Map<string, Product>();
  readonly #scatters = new Map<number, Scatter>();
  readonly #places = new Map<number, Uint32Array>();
  readonly #round = makeRound(this.memory.host);

  /**
   * @param into where the results go one behind another, see resultBytes
   * @returns bits of bf16, by the chains' names, as views of `into`
   * @throws I2lError INTERNAL for state that is missing or of another shape; what reading throws
   */
  run(chains: readonly LinearChain[], state: TensorMap, source: WeightSource, into: ArrayBufferLike): Record<string, HostTensor> {
    this.memory.release(0);
    const arranged = new Map<string, number>();
    const results: Record<string, HostTensor> = {};
    let taken = 0;
    for (const chain of chains) {
      const { input, layers, factor, name } = chain;
      const images = state[input]?.dims[0] ?? 0;
      const columns = inOf(layers[0]);
      const x = arranged.get(input) ?? this.#arranged(rowsOfState(state, input, images, columns), images, columns);
      arranged.set(input, x);
      const mark = this.memory.taken;
      const factors = factor === undefined ? undefined : valuesOfState(state, factor, images);
      const data = new Uint16Array(into, taken, images * outOf(lastOf(chain)));
      const isFinite = this.#result({ chain, images, runs: runsOf(images), factors, source }, x, data);
      results[name] = { data, dims: chainDims(chain, images), ...(isFinite ? { isFinite } : {}) };
      taken += data.byteLength;
      this.memory.release(mark);
    }
    return results;
  }

  /** @param x the first byte of all arranged input. @returns whether all values are finite; if not, perhaps they are */
  #result(run: ChainRun, x: number, into: Uint16Array): boolean {
    let from = x;
    for (const layer of run.chain.layers.slice(0, -1)) from = this.#between(run, layer, from);
    return this.#last(run, from, into);
  }

  /** A layer that another one follows. @returns the first byte of what it gives, arranged */
  #between(run: ChainRun, layer: LinearLayer, x: number): number {
    const stride = strideOf(outOf(layer));
    const y = this.memory.take(run.images * stride);
    for (const piece of this.#pieces(run, layer, 1)) {
      for (const some of run.runs) this.#multiply(layer, piece, x, some, { at: y + stride * some.first + 4 * piece.first, stride });
    }
    return this.#arranged(rowsIn(this.memory, { at: y, stride }, outOf(layer)), run.images, outOf(layer));
  } // prettier-ignore

  #last(run: ChainRun, x: number, into: Uint16Array): boolean {
    const { chain, images, runs } = run;
    const layer = lastOf(chain);
    const areBeside = chain.images === 'beside' && images > 1;
    let strange = 0;
    for (const piece of this.#pieces(run, layer, areBeside ? chain.rank : 1)) {
      const mark = this.memory.taken;
      const stride = strideOf(piece.count);
      const y = { at: this.memory.take(Math.min(MOST_IMAGES, images) * stride), stride };
      const beside = areBeside ? this.memory.take(2 * images * piece.count) : undefined;
      for (const some of runs) {
        this.#multiply(layer, piece, x, some, y);
        strange |= this.#round16(run, some, y);
        if (beside === undefined) this.#put(piece, some, y, into, outOf(layer));
        else this.#putBeside(run, piece, some, y, beside);
      }
      if (beside !== undefined) {
        into.set(new Uint16Array(this.memory.buffer, beside, images * piece.count), images * piece.first);
      }
      this.memory.release(mark);
    }
    return strange === 0;
  }

  /** Multiplies some images with some rows. @param x the first byte of the first image's input */
  #multiply(layer: LinearLayer, { at, count: rows }: Piece, x: number, { first, count }: Some, y: Rows): void {
    const columns = inOf(layer);
    this.#product(columns, count)(at, x + 4 * columns * first, y.at, rows, y.stride);
  }

  /** Multiplies by the images' factors and rounds, in place. @returns 1 if something is not finite, else 0 */
  #round16({ factors }: ChainRun, { first, count }: Some, { at, stride }: Rows): number {
    let strange = 0;
    for (let i = 0; i < count; i++) {
      const from = at + stride * i;
      strange |= this.#round(from, factors?.[first + i] ?? 1, from, stride / 4);
    }
    return strange;
  }

  /** Each image's values are one behind another. */
  #put(piece: Piece, { first, count }: Some, { at, stride }: Rows, into: Uint16Array, out: number): void {
    for (let i = 0; i < count; i++) {
      into.set(new Uint16Array(this.memory.buffer, at + stride * i, piece.count), out * (first + i) + piece.first);
    }
  }

  /** Each image's ranks are beside the others'. @param to where the piece's values of all images are gathered */
  #putBeside({ chain: { rank }, images }: ChainRun, piece: Piece, { first, count }: Some, { at, stride }: Rows, to: number): void {
    const scatter = this.#scatter(rank);
    for (let i = 0; i < count; i++) scatter(at + stride * i, to + 2 * rank * (first + i), piece.count / rank, 2 * rank * images);
  }

  /**
   * Brings a weight into the memory, and gives it away in pieces that a cache holds with what is made of them.
   * @param multiple their rows are a multiple of so many
   */
  *#pieces({ images, source: { read, readBytes } }: ChainRun, { weight }: LinearLayer, multiple: number): Generator<Piece> {
    const [out = 0, columns = 0] = weight.shape;
    const rowBytes = 2 * columns;
    const whole = (rows: number): number => Math.max(1, Math.floor(rows / multiple)) * multiple;
    const rows = whole(Math.min(PIECE_BYTES / rowBytes, PIECE_BYTES / (2 * images)));
    const rowsAtOnce = Math.min(out, Math.max(rows, whole(readBytes / rowBytes)));
    const mark = this.memory.taken;
    const at = this.memory.take(rowsAtOnce * rowBytes);
    for (let begin = 0; begin < out; begin += rowsAtOnce) {
      const end = Math.min(out, begin + rowsAtOnce);
      read(weight, begin, new Uint8Array(this.memory.buffer, at, (end - begin) * rowBytes));
      for (let first = begin; first < end; first += rows) {
        yield { first, count: Math.min(rows, end - first), at: at + rowBytes * (first - begin) };
      }
    }
    this.memory.release(mark);
  }

  /** Copies activations to where products look for them. */
  #arranged(row: RowOf, images: number, columns: number): number {
    const at = this.memory.take(4 * images * columns);
    const places = this.#placesOf(columns);
    for (let image = 0; image < images; image++) {
      const from = row(image);
      const to = new Float32Array(this.memory.buffer, at + 4 * columns * image, columns);
      for (let column = 0; column < columns; column++) to[places[column] as number] = from[column] as number;
    }
    return at;
  }

  #product(columns: number, images: number): Product {
    const key = `${columns} ${images}`;
    const product = this.#products.get(key) ?? makeProduct(columns, images, this.memory.host);
    this.#products.set(key, product);
    return product;
  }

  #scatter(rank: number): Scatter {
    const scatter = this.#scatters.get(rank) ?? makeScatter(rank, this.memory.host);
    this.#scatters.set(rank, scatter);
    return scatter;
  }

  #placesOf(columns: number): Uint32Array {
    const places = this.#places.get(columns) ?? Uint32Array.from({ length: columns }, (_, at) => arrangedPlace(at, columns));
    this.#places.set(columns, places);
    return places;
  }
}

/** Bytes that a chain takes in the memory, at most: whatever the images, and for each of them. */
export function chainBytes(chain: LinearChain): { readonly fixed: number; readonly perImage: number } {
  const { layers, rank } = chain;
  const read = Math.max(...layers.map((layer) => Math.min(layer.weight.length, MOST_READ_BYTES + 2 * rank * inOf(layer))));
  const between = layers.slice(0, -1).reduce((sum, layer) => sum + strideOf(outOf(layer)) + 4 * outOf(layer), 0);
  const fixed = read + MOST_IMAGES * strideOf(outOf(lastOf(chain))) + PIECE_BYTES + ALIGNED_BYTES * (3 + 2 * layers.length);
  return { fixed, perImage: 4 * inOf(layers[0]) + between + 2 * rank };
}

/** Bytes from one image's values of a layer to the next one's. */
function strideOf(values: number): number {
  return 4 * Math.ceil(values / ROUNDED_AT_ONCE) * ROUNDED_AT_ONCE;
}

/** The images in as few runs as there may be, of about the same length. */
function runsOf(images: number): readonly Some[] {
  const runs = Math.ceil(images / MOST_IMAGES);
  const firstOf = (run: number): number => Math.floor((images * run) / runs);
  return Array.from({ length: runs }, (_, run) => ({ first: firstOf(run), count: firstOf(run + 1) - firstOf(run) }));
}

function valuesOfState(state: TensorMap, name: string, count: number): Float32Array {
  const data = state[name]?.data;
  if (data instanceof Float32Array && data.length === count) return data;
  throw new I2lError('INTERNAL', `The state "${name}" should be ${count} values of f32.`, { name });
}

function rowsOfState(state: TensorMap, name: string, images: number, width: number): RowOf {
  const values = valuesOfState(state, name, images * width);
  return (image) => values.subarray(image * width, (image + 1) * width);
}

/** Not by one view of the memory, which is another one once it has grown. */
function rowsIn(memory: WasmMemory, { at, stride }: Rows, width: number): RowOf {
  return (image) => new Float32Array(memory.buffer, at + stride * image, width);
}
