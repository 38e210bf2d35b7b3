import type { TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import type { GraphWeight } from '../onnx/built-graph.ts';
import type { NetworkPlan } from './planner.ts';
import type { Reader } from './reader.ts';
import { feedsFrom, layOut, roomFor, viewsOf, type BufferLayout } from './weight-buffer.ts';

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

export function supplyFor(plan: NetworkPlan, reader: Reader): WeightSupply {
  return plan.weightsAs === 'mapped' ? new MappedWeights(reader) : new FedWeights(buffersFor(plan, reader));
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

/** Weights of a graph in a buffer that threads can share. */
export interface BufferedWeights {
  readonly weights: readonly GraphWeight[];
  readonly buffer: SharedArrayBuffer;
  readonly layout: BufferLayout;
}

/** Two buffers in turn: one is run from while the other is filled. */
export class WeightBuffers {
  readonly #reader: Reader;
  readonly #room: number;
  readonly #free: SharedArrayBuffer[] = [];
  #coming: Promise<BufferedWeights> | undefined;
  #taken: SharedArrayBuffer | undefined;

  /** @param room bytes of a buffer; one that turns out too small is made anew */
  constructor(reader: Reader, room: number) {
    this.#reader = reader;
    this.#room = room;
  }

  order(weights: readonly GraphWeight[]): void {
    const layout = layOut(weights);
    const buffer = this.#roomOf(layout.bytes);
    this.#coming = this.#reader.load(layout.reads, buffer).then(() => ({ weights, buffer, layout }));
    this.#coming.catch(() => undefined); // Whoever takes them is told.
  }

  /** @throws I2lError as Reader.load does */
  async take(): Promise<BufferedWeights> {
    if (!this.#coming) throw new RangeError('weights were taken that nobody ordered');
    const ready = await this.#coming;
    this.#coming = undefined;
    this.#taken = ready.buffer;
    return ready;
  }

  giveBack(): void {
    if (this.#taken) this.#free.push(this.#taken);
    this.#taken = undefined;
  }

  /** Waits for what is being read: a thread that writes can't be asked to stop. */
  async close(): Promise<void> {
    await this.#coming?.catch(() => undefined);
    this.#coming = this.#taken = undefined;
    this.#free.length = 0;
    this.#reader.forget();
  }

  #roomOf(bytes: number): SharedArrayBuffer {
    const buffer = this.#free.pop();
    return buffer && buffer.byteLength >= bytes ? buffer : new SharedArrayBuffer(Math.max(bytes, this.#room));
  }
}

/** Buffers with room for any group of a plan. */
export function buffersFor({ groups }: NetworkPlan, reader: Reader): WeightBuffers {
  return new WeightBuffers(reader, roomFor(Math.max(...groups.map(({ weightBytes }) => weightBytes))));
}

class FedWeights implements WeightSupply {
  readonly #buffers: WeightBuffers;

  constructor(buffers: WeightBuffers) {
    this.#buffers = buffers;
  }

  order({ weights }: BuiltGraph): void {
    this.#buffers.order(weights);
  }

  async take(): Promise<TensorMap> {
    const { weights, buffer, layout } = await this.#buffers.take();
    return feedsFrom(viewsOf(weights, layout), buffer);
  }

  giveBack(): void {
    this.#buffers.giveBack();
  }

  close(): Promise<void> {
    return this.#buffers.close();
  }
}
