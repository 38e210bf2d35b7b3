import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap, TensorRange } from '../contract/tensor.ts';
import { chainDims, inOf, outOf, type LinearChain, type LinearLayer } from './chain.ts';
import { arrangedPlace, makeProduct, makeRound, makeScatter, MOST_IMAGES, type Product, type Scatter } from './products.ts';
import { WasmMemory } from './wasm-memory.ts';

/** Each image's values begin at a multiple of so many: as many are rounded at once. */
const ROUNDED_AT_ONCE = 8;

/** Values of an image. */
type RowOf = (image: number) => Float32Array;

/** f32 in the memory: the first byte, and bytes from one image's to the next one's. */
interface Rows {
  readonly at: number;
  readonly stride: number;
}

/** Computes chains of linear layers whose weights, of bf16, lie in its memory. */
export class ChainRunner {
  readonly memory = new WasmMemory();
  readonly #products = new Map<string, Product>();
  readonly #scatters = new Map<number, Scatter>();
  readonly #places = new Map<number, Uint32Array>();
  readonly #round = makeRound(this.memory.host);

  /**
   * @param place first byte of a weight in the memory
   * @returns bits of bf16, by the chains' names
   * @throws I2lError INTERNAL for state that is missing or of another shape
   */
  run(chains: readonly LinearChain[], state: TensorMap, place: (weight: TensorRange) => number): Record<string, HostTensor> {
    const arranged = new Map<string, number>();
    const results: Record<string, HostTensor> = {};
    for (const chain of chains) {
      const { input, layers, name } = chain;
      const images = state[input]?.dims[0] ?? 0;
      const x = arranged.get(input) ?? this.#arranged(rowsOfState(state, input, images, inOf(layers[0])), images, inOf(layers[0]));
      arranged.set(input, x);
      const mark = this.memory.taken;
      const rows = this.#lastRows(chain, x, images, state, place);
      results[name] = { data: this.#rounded(chain, rows, images, state), dims: chainDims(chain, images) };
      this.memory.release(mark);
    }
    return results;
  }

  /** What the last layer gives. @param x the first byte of arranged input */
  #lastRows({ layers }: LinearChain, x: number, images: number, state: TensorMap, place: (weight: TensorRange) => number): Rows {
    let [from, rows] = [x, { at: 0, stride: 0 }];
    for (const [i, layer] of layers.entries()) {
      const { add, weight } = layer;
      if (i > 0) from = this.#arranged(this.#rowOf(rows, inOf(layer)), images, inOf(layer));
      rows = this.#multiply(from, images, layer, place(weight));
      if (add !== undefined) addRows(this.#rowOf(rows, outOf(layer)), rowsOfState(state, add, images, outOf(layer)), images);
    }
    return rows;
  }

  #multiply(x: number, images: number, layer: LinearLayer, weight: number): Rows {
    const [rows, columns] = [outOf(layer), inOf(layer)];
    const stride = 4 * Math.ceil(rows / ROUNDED_AT_ONCE) * ROUNDED_AT_ONCE;
    const at = this.memory.take(images * stride);
    for (const { first, count } of runsOf(images)) {
      const product = this.#product(columns, count);
      product(weight, x + 4 * columns * first, at + stride * first, rows, stride);
    }
    return { at, stride };
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

  /** The images' results as they leave: multiplied by their factors, rounded, and put together. */
  #rounded(chain: LinearChain, { at, stride }: Rows, images: number, state: TensorMap): Uint16Array {
    const { layers, rank, factor } = chain;
    const out = outOf(layers[layers.length - 1] as LinearLayer);
    const factors = factor === undefined ? undefined : rowsOfState(state, factor, images, 1);
    const areBeside = chain.images === 'beside' && images > 1;
    const scatter = this.#scatter(rank);
    const together = this.memory.take(2 * (images * out + ROUNDED_AT_ONCE)); // What is rounded behind the last is of no use.
    for (let image = 0; image < images; image++) {
      const from = at + stride * image;
      this.#round(from, factors?.(image)[0] ?? 1, areBeside ? from : together + 2 * out * image, stride / 4);
      if (areBeside) scatter(from, together + 2 * rank * image, out / rank, 2 * rank * images);
    }
    return new Uint16Array(this.memory.buffer, together, images * out).slice();
  }

  #rowOf({ at, stride }: Rows, out: number): RowOf {
    return (image) => new Float32Array(this.memory.buffer, at + stride * image, out);
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

/** Bytes of one image that a chain takes in the memory beside its weights, at most. */
export function chainBytes({ layers }: LinearChain): number {
  const rows = layers.reduce((sum, layer) => sum + 4 * (inOf(layer) + outOf(layer) + 2 * ROUNDED_AT_ONCE), 0);
  return rows + 2 * outOf(layers[layers.length - 1] as LinearLayer);
}

/** The images in as few runs as there may be, of about the same length. */
function runsOf(images: number): readonly { first: number; count: number }[] {
  const runs = Math.ceil(images / MOST_IMAGES);
  const firstOf = (run: number): number => Math.floor((images * run) / runs);
  return Array.from({ length: runs }, (_, run) => ({ first: firstOf(run), count: firstOf(run + 1) - firstOf(run) }));
}

function rowsOfState(state: TensorMap, name: string, images: number, width: number): RowOf {
  const data = state[name]?.data;
  if (!(data instanceof Float32Array) || data.length !== images * width) {
    throw new I2lError('INTERNAL', `The state "${name}" should be ${images} x ${width} values of f32.`, { name });
  }
  return (image) => data.subarray(image * width, (image + 1) * width);
}

function addRows(to: RowOf, what: RowOf, images: number): void {
  for (let image = 0; image < images; image++) {
    const [sum, other] = [to(image), what(image)];
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (other[i] as number);
  }
}
