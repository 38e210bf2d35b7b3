import type { TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import type { NetworkPlan } from './planner.ts';
import type { Reader } from './reader.ts';
import { feedsFrom, layOut, roomFor } from './weight-buffer.ts';

/** Brings the weights of a row of graphs, those of the next while one is run. */
export interface WeightSupply {
  /** Begins to bring a graph's weights; those of the one before are taken by then. */
  order(graph: BuiltGraph): void;
  /** What the graph that was ordered last is fed beside its state. @throws I2lError as Reader.load does */
  take(): Promise<TensorMap>;
  /** The graph whose weights were taken last has run. */
  giveBack(): void;
  /** Gives all memory back. */
  close(): Promise<void>;
}

export function supplyFor({ weightsAs, groups }: NetworkPlan, reader: Reader): WeightSupply {
  if (weightsAs === 'mapped') return new MappedWeights(reader);
  return new FedWeights(reader, roomFor(Math.max(...groups.map(({ weightBytes }) => weightBytes))));
}

/** The runtime finds them in the file; all that helps is that the system has read it. */
class MappedWeights implements WeightSupply {
  readonly #reader: Reader;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  order({ weights }: BuiltGraph): void {
    this.#reader.warm(weights.map(({ range }) => range));
  }

  take(): Promise<TensorMap> {
    return Promise.resolve({});
  }

  giveBack(): void {
    // Nothing was taken.
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** In two buffers in turn: one is run from while the other is filled. */
class FedWeights implements WeightSupply {
  readonly #reader: Reader;
  readonly #room: number;
  readonly #free: ArrayBuffer[] = [];
  #coming: { readonly buffer: Promise<ArrayBuffer>; readonly feeds: (buffer: ArrayBuffer) => TensorMap } | undefined;
  #taken: ArrayBuffer | undefined;

  constructor(reader: Reader, room: number) {
    this.#reader = reader;
    this.#room = room;
  }

  order({ weights }: BuiltGraph): void {
    const layout = layOut(weights);
    const buffer = this.#reader.load(layout.reads, this.#roomOf(layout.bytes));
    buffer.catch(() => undefined); // Whoever takes it is told.
    this.#coming = { buffer, feeds: (whole) => feedsFrom(weights, layout, whole) };
  }

  async take(): Promise<TensorMap> {
    const coming = this.#coming;
    if (!coming) throw new RangeError('weights were taken that nobody ordered');
    this.#taken = await coming.buffer;
    this.#coming = undefined;
    return coming.feeds(this.#taken);
  }

  giveBack(): void {
    if (this.#taken) this.#free.push(this.#taken);
    this.#taken = undefined;
  }

  async close(): Promise<void> {
    const coming = await this.#coming?.buffer.catch(() => undefined);
    for (const buffer of [...this.#free, this.#taken, coming]) buffer?.transfer(0);
  }

  #roomOf(bytes: number): ArrayBuffer {
    const buffer = this.#free.pop() ?? new ArrayBuffer(this.#room);
    if (buffer.byteLength >= bytes) return buffer;
    buffer.transfer(0);
    return new ArrayBuffer(bytes);
  }
}
