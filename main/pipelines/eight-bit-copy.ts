import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { COPY_STEP } from '../contract/engine.ts';
import { I2lError } from '../contract/errors.ts';
import { formatBytes } from '../contract/format-bytes.ts';
import { rowsOf, type HostTensor, type TensorRange } from '../contract/tensor.ts';
import { joinStages, type Stage } from '../offload/stage.ts';
import { canBeEightBit, tileCount, toTile, type EightBitWeight, type EightBitWeights } from '../onnx/eight-bit.ts';
import type { ByteType } from '../onnx/exact-bytes.ts';
import { placeOf } from '../onnx/external-data.ts';
import { freeSpace } from '../weights/hub/free-space.ts';
import { makeFolderSync } from '../weights/make-folder.ts';
import { readSafetensors, type SafetensorsFile } from '../weights/safetensors.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import { SafetensorsWriter, tensorBytes, type TensorSpec } from '../weights/write-safetensors.ts';
import { COPY_OF } from './eight-bit-folder.ts';
import { prepare, type NetworkRunner, type PreparedNetwork } from './context.ts';
import type { OpenEncoder } from './open-encoders.ts';

/**
 * A file that holds the weights of an encoder's products in 8 bits, made once from the user's own file: half the bytes
 * to read, and products of bytes. Sensitive stages, see Stage, keep their weights.
 */

/** Changes when the file's content would. */
const VERSION = '2';

/** What a copy is made of. */
export type CopiedEncoder = Pick<OpenEncoder, 'id' | 'name' | 'contentId' | 'stages' | 'path' | 'stamp'>;

/** A weight, and the two tensors that hold its copy. */
interface Product {
  readonly weight: TensorRange;
  readonly values: TensorSpec;
  readonly steps: TensorSpec;
}

export class EightBitCopy {
  readonly path: string;
  readonly #encoder: CopiedEncoder;
  readonly #byteType: ByteType | undefined;
  readonly #products: readonly Product[];
  /** Absent before it is made. */
  #file: SafetensorsFile | undefined;

  /** @param folder of all copies; @param byteType of the copy, see exactByteType; absent: one of either is taken, for a plan */
  constructor(folder: string, encoder: CopiedEncoder, byteType?: ByteType) {
    // By its weights, whatever file holds them.
    this.path = join(folder, `${encoder.contentId}.safetensors`);
    this.#encoder = encoder;
    this.#byteType = byteType;
    this.#products = productsOf(encoder.stages, byteType ?? 'I8');
    this.#file = this.#openMade();
  }

  /** Id of the model that it is a copy of. */
  get of(): string {
    return this.#encoder.id;
  }

  /** Of the file's tensors. */
  get bytes(): number {
    return this.#tensors().reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  }

  get isMade(): boolean {
    return this.#file !== undefined;
  }

  /** What products take in place of their weights; before it is made, of the right sizes only. */
  get weights(): EightBitWeights {
    return new Map(this.#products.map((product) => [placeOf(product.weight), copyOf(product, this.#file, this.path)]));
  }

  /** The work of making it. */
  prepare(): PreparedNetwork {
    const stages = this.#products.flatMap((product) => tilesOf(product).map((tile) => stageOf(tile)));
    return prepare(this.#encoder.name + COPY_STEP, stages, { wholeBatch: true });
  }

  /**
   * @param network as {@link prepare} gave it, planned
   * @throws I2lError DISK_FULL before any work, FILE_WRITE_FAILED, CANCELLED
   */
  async make(runner: NetworkRunner, network: PreparedNetwork): Promise<void> {
    const { id } = this.#encoder;
    makeFolderSync(dirname(this.path));
    removeStaleParts(this.path);
    await checkRoom(dirname(this.path), id, this.bytes);
    const writer = new SafetensorsWriter(this.path, this.#tensors(), { ...identity(this.#encoder), [COPY_OF]: id });
    try {
      await this.#run(runner, network, writer);
      writer.finish();
    } catch (error) {
      writer.abort();
      throw error;
    }
    this.#file = this.#openMade();
    if (!this.#file) throw new I2lError('INTERNAL', `${this.path}: the 8-bit copy of ${id} can't be read back.`);
  }

  /** The next job that wants it makes it anew. */
  remove(): void {
    rmSync(this.path, { force: true });
    this.#file = undefined;
  }

  async #run(runner: NetworkRunner, network: PreparedNetwork, writer: SafetensorsWriter): Promise<void> {
    const tiles = new Map(this.#products.flatMap((product) => tilesOf(product).map((tile) => [tile.name, tile] as const)));
    const sink = (emitted: string, tensor: HostTensor): void => {
      const [kind = '', ...name] = emitted.split(' ');
      const tile = tiles.get(name.join(' '));
      if (!tile) throw new I2lError('INTERNAL', `${emitted} is no part of an 8-bit copy.`);
      const { product, index } = tile;
      if (kind === 'steps' && !(tensor.data as Float32Array).every(Number.isFinite)) throw this.#notFinite(product);
      const bytes = bytesOf(tensor);
      writer.write(product[kind === 'values' ? 'values' : 'steps'].name, bytes, index * bytes.length);
    };
    await runner.run(network, { load: () => ({}), sink });
  }

  #notFinite({ weight }: Product): I2lError {
    const { path } = this.#encoder;
    const message = `${path}: tensor "${weight.name}" holds a value that is not a finite number; the file may be damaged.`;
    return new I2lError('NOT_FINITE', message, { file: path, tensor: weight.name });
  }

  /** In file order. */
  #tensors(): TensorSpec[] {
    return this.#products.flatMap(({ values, steps }) => [values, steps]);
  }

  /** @returns undefined if there is none, or none that fits: then it is made anew */
  #openMade(): SafetensorsFile | undefined {
    if (!existsSync(this.path)) return undefined;
    try {
      const file = readSafetensors(this.path);
      return this.#fits(file) ? file : undefined;
    } catch (error) {
      if (error instanceof I2lError && error.code.startsWith('SAFETENSORS')) return undefined;
      throw error;
    }
  }

  #fits({ tensors, metadata }: SafetensorsFile): boolean {
    const isSame = Object.entries(identity(this.#encoder)).every(([key, text]) => metadata[key] === text);
    const specs = this.#tensors();
    const has = ({ name, dtype, shape }: TensorSpec): boolean => {
      const made = tensors.get(name);
      const isOfType = made?.dtype === dtype || (!this.#byteType && dtype === 'I8' && made?.dtype === 'U8');
      return isOfType && made?.shape.join() === shape.join();
    };
    return isSame && tensors.size === specs.length && specs.every(has);
  }
}

/** A file that was mended or brought anew has other times, though samples of it may be the same. */
function identity({ contentId, stamp }: CopiedEncoder): Record<string, string> {
  return { 'i2l.copy-version': VERSION, 'i2l.copy-content': contentId, 'i2l.copy-stamp': stamp };
}

/** The weights that stages multiply by, where 8 bits can hold them, each once. */
function productsOf(stages: readonly Stage[], dtype: ByteType): Product[] {
  const coarse = stages.filter(({ isSensitive }) => !isSensitive);
  const weights = coarse.flatMap((stage) => joinStages([stage], new Set()).graph.products);
  const distinct = new Map(weights.map((weight) => [placeOf(weight), weight]));
  return [...distinct.values()].flatMap((weight): Product[] => {
    const [out = 0, inner = 0] = weight.shape;
    if (!canBeEightBit(inner)) return [];
    const tiles = tileCount(out, inner);
    const values = { name: `${weight.name}.values`, dtype, shape: [tiles, inner, out / tiles] };
    return [{ weight, values, steps: { name: `${weight.name}.steps`, dtype: 'F32', shape: [out] } }];
  });
}

/** Where a product's copy lies; of one that is not made, anywhere: its size is what a plan needs. */
function copyOf({ weight, values, steps }: Product, file: SafetensorsFile | undefined, path: string): EightBitWeight {
  const rangeOf = (spec: TensorSpec): Omit<TensorRange, 'dtype'> => {
    const { offset, length } = file?.tensors.get(spec.name) ?? { offset: weight.offset, length: tensorBytes(spec) };
    return { name: spec.name, shape: spec.shape, file: file?.file ?? path, offset, length };
  };
  return { values: rangeOf(values), isSigned: values.dtype === 'I8', steps: { ...rangeOf(steps), dtype: 'F32' } };
}

/** Rows of a product that become 8-bit in one stage. */
interface Tile {
  readonly name: string;
  readonly product: Product;
  readonly index: number;
  readonly rows: TensorRange;
}

function tilesOf(product: Product): Tile[] {
  const [tiles = 0, , width = 0] = product.values.shape;
  return Array.from({ length: tiles }, (_, index) => {
    const rows = rowsOf(product.weight, index * width, width);
    return { name: rows.name, product, index, rows };
  });
}

function stageOf({ name, rows, product }: Tile): Stage {
  return {
    id: `${name} to 8 bits`,
    takes: [],
    build: (g) => {
      const { values, steps } = toTile(g, g.weight(rows), product.values.dtype === 'I8');
      return { emit: { [`values ${name}`]: values, [`steps ${name}`]: steps } };
    },
  };
}

function bytesOf({ data }: HostTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** @throws I2lError DISK_FULL */
async function checkRoom(folder: string, id: string, bytes: number): Promise<void> {
  const free = await freeSpace(folder);
  if (free === undefined || free >= bytes) return;
  const message = `${folder}: the 8-bit copy of ${id} takes ${formatBytes(bytes)} and ${formatBytes(free)} are free; make room, or go without --fast.`;
  throw new I2lError('DISK_FULL', message, { file: folder, needed: bytes, free });
}
