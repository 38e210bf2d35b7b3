import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap, TensorRange } from '../contract/tensor.ts';
import { chainDims, inOf, lastOf, outOf, type LinearChain, type LinearLayer } from './chain.ts';
import { arrangedPlace, makeProduct, makeRound, makeScatter, MOST_IMAGES, type Product, type Scatter } from './products.ts';
import { WasmMemory } from './wasm-memory.ts';

/** Each image's values begin at a multiple of so many: as many are rounded at once. */
const ROUNDED_AT_ONCE = 8;

/** First byte of a weight in the memory. */
type Place = (weight: TensorRange) => number;

/** What a chain is computed from. */
interface ChainRun {
  readonly chain: LinearChain;
  readonly images: number;
  readonly state: TensorMap;
  readonly place: Place;
}

/** Images that go through a chain together. */
interface Some {
  readonly first: number;
  readonly count: number;
}

/** f32 in the memory: the first byte, and bytes from one image's to the next one's. */
interface Rows {
  readonly at: number;
  readonly stride: number;
}

type RowOf = (image: number) => Float32Array;

/** Computes chains of linear layers whose weights, of bf16, lie in its memory. */
export class ChainRunner {
  readonly memory = new WasmMemory();
  readonly #products = new Map<string, Product>();
  readonly #scatters = new Map<number, Scatter>();
  readonly #places = new Map<number, Uint32Array>();
  readonly #round = makeRound(this.memory.host);

  /**
   * @returns bits of bf16, by the chains' names
   * @throws I2lError INTERNAL for state that is missing or of another shape
   */
  run(chains: readonly LinearChain[], state: TensorMap, place: Place): Record<string, HostTensor> {
    const arranged = new Map<string, number>();
    const results: Record<string, HostTensor> = {};
    for (const chain of chains) {
      const { input, layers, name } = chain;
      const images = state[input]?.dims[0] ?? 0;
      const columns = inOf(layers[0]);
      const x = arranged.get(input) ?? this.#arranged(rowsOfState(state, input, images, columns), images, columns);
      arranged.set(input, x);
      const mark = this.memory.taken;
      results[name] = { data: this.#result({ chain, images, state, place }, x), dims: chainDims(chain, images) };
      this.memory.release(mark);
    }
    return results;
  }

  /** A few images at a time, so that their values stay in the processor's cache. @param x the first byte of all arranged input */
  #result(run: ChainRun, x: number): Uint16Array {
    const values = run.images * outOf(lastOf(run.chain));
    const result = this.memory.take(2 * (values + ROUNDED_AT_ONCE)); // What is rounded behind the last is of no use.
    const mark = this.memory.taken;
    for (const some of runsOf(run.images)) {
      this.#store(run, some, this.#lastRows(run, some, x), result);
      this.memory.release(mark);
    }
    return new Uint16Array(this.memory.buffer, result, values).slice();
  }

  /** What the last layer gives. */
  #lastRows({ chain: { layers }, place }: ChainRun, { first, count }: Some, x: number): Rows {
    const [firstLayer, ...others] = layers;
    let rows = this.#multiply(x + 4 * inOf(firstLayer) * first, count, firstLayer, place(firstLayer.weight));
    for (const layer of others) {
      const from = this.#arranged(rowsIn(this.memory, rows, inOf(layer)), count, inOf(layer));
      rows = this.#multiply(from, count, layer, place(layer.weight));
    }
    return rows;
  }

  #multiply(x: number, images: number, layer: LinearLayer, weight: number): Rows {
    const rows = outOf(layer);
    const stride = 4 * Math.ceil(rows / ROUNDED_AT_ONCE) * ROUNDED_AT_ONCE;
    const at = this.memory.take(images * stride);
    this.#product(inOf(layer), images)(weight, x, at, rows, stride);
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

  /** Multiplies by the images' factors, rounds, and puts all to its place in the result. */
  #store({ chain, images, state }: ChainRun, { first, count }: Some, { at, stride }: Rows, result: number): void {
    const { rank, factor } = chain;
    const out = outOf(lastOf(chain));
    const factors = factor === undefined ? undefined : rowsOfState(state, factor, images, 1);
    const areBeside = chain.images === 'beside' && images > 1;
    for (let i = 0; i < count; i++) {
      const [image, from] = [first + i, at + stride * i];
      this.#round(from, factors?.(image)[0] ?? 1, areBeside ? from : result + 2 * out * image, stride / 4);
      if (areBeside) this.#scatter(rank)(from, result + 2 * rank * image, out / rank, 2 * rank * images);
    }
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

/** Bytes that a chain takes in the memory beside its weights, at most: whatever the images, and for each of them. */
export function chainBytes(chain: LinearChain): { readonly fixed: number; readonly perImage: number } {
  const values = chain.layers.reduce((sum, layer) => sum + inOf(layer) + outOf(layer) + 2 * ROUNDED_AT_ONCE, 0);
  return { fixed: 4 * MOST_IMAGES * values, perImage: 4 * inOf(chain.layers[0]) + 2 * outOf(lastOf(chain)) };
}

/** The images in as few runs as there may be, of about the same length. */
function runsOf(images: number): readonly Some[] {
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

/** Not by one view of the memory, which is another one once it has grown. */
function rowsIn(memory: WasmMemory, { at, stride }: Rows, width: number): RowOf {
  return (image) => new Float32Array(memory.buffer, at + stride * image, width);
}
