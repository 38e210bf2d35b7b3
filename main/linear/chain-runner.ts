import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap, TensorRange } from '../contract/tensor.ts';
import { chainDims, inOf, outOf, type LinearChain, type LinearLayer } from './chain.ts';
import { arrangedPlace, makeProduct, makeRound, MOST_IMAGES, type Product } from './products.ts';
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
  readonly #places = new Map<number, Uint32Array>();
  readonly #round = makeRound(this.memory.host);

  /**
   * @param place first byte of a weight in the memory
   * @returns bits of bf16
   * @throws I2lError INTERNAL for state that is missing or of another shape
   */
  run(chain: LinearChain, state: TensorMap, place: (weight: TensorRange) => number): HostTensor {
    const images = state[chain.input]?.dims[0] ?? 0;
    const mark = this.memory.taken;
    let row = rowsOfState(state, chain.input, images, inOf(chain.layers[0]));
    let rows: Rows = { at: 0, stride: 0 };
    for (const layer of chain.layers) {
      rows = this.#multiply(row, images, layer, place(layer.weight));
      row = this.#rowOf(rows, outOf(layer));
      if (layer.add !== undefined) addRows(row, rowsOfState(state, layer.add, images, outOf(layer)), images);
    }
    const factors = chain.factor === undefined ? undefined : rowsOfState(state, chain.factor, images, 1);
    const data = this.#rounded(chain, rows, images, factors);
    this.memory.release(mark);
    return { data, dims: chainDims(chain, images) };
  }

  #multiply(row: RowOf, images: number, layer: LinearLayer, weight: number): Rows {
    const [rows, columns] = [outOf(layer), inOf(layer)];
    const x = this.#arranged(row, images, columns);
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

  /** The images' results as they leave: multiplied by their factors, rounded where they are, and put together. */
  #rounded(chain: LinearChain, { at, stride }: Rows, images: number, factors: RowOf | undefined): Uint16Array {
    const out = outOf(chain.layers.at(-1) as LinearLayer);
    const data = new Uint16Array(images * out);
    for (let image = 0; image < images; image++) {
      const to = at + (stride / 2) * image;
      this.#round(at + stride * image, factors?.(image)[0] ?? 1, to, stride / 4);
      const bits = new Uint16Array(this.memory.buffer, to, out);
      if (chain.images === 'below' || images === 1) data.set(bits, image * out);
      else putBeside(data, bits, chain.rank, image, images);
    }
    return data;
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

  #placesOf(columns: number): Uint32Array {
    const places = this.#places.get(columns) ?? Uint32Array.from({ length: columns }, (_, at) => arrangedPlace(at, columns));
    this.#places.set(columns, places);
    return places;
  }
}

/** Bytes of one image that a chain takes in the memory beside its weights, and of its result, at most. */
export function chainBytes({ layers }: LinearChain): number {
  return layers.reduce((sum, layer) => sum + 4 * (inOf(layer) + outOf(layer) + ROUNDED_AT_ONCE), 0);
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

/** So many of an image's values lie together, and those of all images side by side. */
function putBeside(data: Uint16Array, bits: Uint16Array, rank: number, image: number, images: number): void {
  for (let from = 0; from < bits.length; from += rank) {
    const to = from * images + image * rank;
    for (let i = 0; i < rank; i++) data[to + i] = bits[from + i] as number;
  }
}
