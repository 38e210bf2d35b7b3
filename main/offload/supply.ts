import type { TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph } from '../onnx/graph.ts';
import type { GraphWeight } from '../onnx/built-graph.ts';
import type { NetworkRun } from './group.ts';
import type { Reader } from './reader.ts';
import { feedsFrom, layOut, roomFor, viewsOf, type BufferLayout } from './weight-buffer.ts';
import { weightsKey, type WeightKeeper } from './weight-keeper.ts';

/** What the graph that was ordered last is fed beside its state. */
export interface SuppliedWeights {
  readonly feeds: TensorMap;
  /** An earlier job had left them in memory: nothing was read. */
  readonly wereKept: boolean;
}

/** Brings the weights of a row of graphs, those of the next while one is run. */
export interface WeightSupply {
  /** Begins to bring a graph's weights; those of the one before are taken by then. */
  order(graph: BuiltGraph): void;
  /** @throws I2lError as Reader.load does */
  take(): Promise<SuppliedWeights>;
  /** The graph whose weights were taken last has run. */
  giveBack(): void;
  /** Gives all memory back. */
  close(): Promise<void>;
}

export function supplyFor(run: NetworkRun): WeightSupply {
  return run.plan.weightsAs === 'mapped' ? new MappedWeights(run.reader) : new FedWeights(buffersFor(run));
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

  take(): Promise<SuppliedWeights> {
    return Promise.resolve({ feeds: {}, wereKept: false });
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
  readonly wereKept: boolean;
  /** The buffer is theirs, and the next job finds them in it. */
  readonly stay: boolean;
}

/** Two buffers in turn, one is run from while the other is filled; weights that stay in memory have buffers of their own. */
export class WeightBuffers {
  readonly #reader: Reader;
  readonly #room: number;
  readonly #keeper: WeightKeeper | undefined;
  readonly #free: SharedArrayBuffer[] = [];
  #coming: Promise<BufferedWeights> | undefined;
  #taken: SharedArrayBuffer | undefined;

  /** @param room bytes of a buffer; one that turns out too small is made anew; @param keeper absent: none stay */
  constructor(reader: Reader, room: number, keeper?: WeightKeeper) {
    this.#reader = reader;
    this.#room = room;
    this.#keeper = keeper;
  }

  order(weights: readonly GraphWeight[]): void {
    const layout = layOut(weights);
    this.#coming = this.#bring(layout).then((where) => ({ weights, layout, ...where }));
    this.#coming.catch(() => undefined); // Whoever takes them is told.
  }

  /** @throws I2lError as Reader.load does */
  async take(): Promise<BufferedWeights> {
    if (!this.#coming) throw new RangeError('weights were taken that nobody ordered');
    const ready = await this.#coming;
    this.#coming = undefined;
    this.#taken = ready.stay ? undefined : ready.buffer;
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

  async #bring({ bytes, reads }: BufferLayout): Promise<Pick<BufferedWeights, 'buffer' | 'wereKept' | 'stay'>> {
    const keeper = bytes > 0 ? this.#keeper : undefined;
    // Taken before they are read: of a file that is written meanwhile, the next job finds nothing.
    const key = keeper ? weightsKey(reads) : '';
    const kept = keeper?.find(key);
    if (kept) return { buffer: kept, wereKept: true, stay: true };
    const own = keeper?.bufferFor(bytes);
    const buffer = own ?? this.#roomOf(bytes);
    await this.#reader.load(reads, buffer);
    if (own) keeper?.keep(key, own, reads);
    return { buffer, wereKept: false, stay: own !== undefined };
  }

  #roomOf(bytes: number): SharedArrayBuffer {
    const buffer = this.#free.pop();
    return buffer && buffer.byteLength >= bytes ? buffer : new SharedArrayBuffer(Math.max(bytes, this.#room));
  }
}

/** Buffers with room for any group of a plan. */
export function buffersFor({ plan: { groups }, reader, keeper }: NetworkRun): WeightBuffers {
  return new WeightBuffers(reader, roomFor(Math.max(...groups.map(({ weightBytes }) => weightBytes))), keeper);
}

class FedWeights implements WeightSupply {
  readonly #buffers: WeightBuffers;

  constructor(buffers: WeightBuffers) {
    this.#buffers = buffers;
  }

  order({ weights }: BuiltGraph): void {
    this.#buffers.order(weights);
  }

  async take(): Promise<SuppliedWeights> {
    const { weights, buffer, layout, wereKept } = await this.#buffers.take();
    return { feeds: feedsFrom(viewsOf(weights, layout), buffer), wereKept };
  }

  giveBack(): void {
    this.#buffers.giveBack();
  }

  close(): Promise<void> {
    return this.#buffers.close();
  }
}
