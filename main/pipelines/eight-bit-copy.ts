import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import { elementCount, rowsOf, type HostTensor, type TensorRange } from '../contract/tensor.ts';
import { joinStages, type Stage } from '../offload/stage.ts';
import { blockOf, blocksOf, toEightBit, type EightBitWeight, type EightBitWeights } from '../onnx/eight-bit.ts';
import { placeOf } from '../onnx/external-data.ts';
import { freeSpace, gigabytes } from '../weights/hub/free-space.ts';
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
const VERSION = '1';
/** Values that are made 8-bit at a time. */
const PIECE_VALUES = 4 << 20;

/** What a copy is made of. */
export type CopiedEncoder = Pick<OpenEncoder, 'id' | 'name' | 'contentId' | 'stages' | 'path' | 'stamp'>;

/** A weight, and the two tensors that hold its copy. */
interface Product {
  readonly weight: TensorRange;
  readonly block: number;
  readonly values: TensorSpec;
  readonly scales: TensorSpec;
}

export class EightBitCopy {
  readonly path: string;
  readonly #encoder: CopiedEncoder;
  readonly #products: readonly Product[];
  /** Absent before it is made. */
  #file: SafetensorsFile | undefined;

  /** @param folder of all copies */
  constructor(folder: string, encoder: CopiedEncoder) {
    // By its weights, whatever file holds them.
    this.path = join(folder, `${encoder.contentId}.safetensors`);
    this.#encoder = encoder;
    this.#products = productsOf(encoder.stages);
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
    const stages = this.#products.flatMap((product) => piecesOf(product).map((piece) => stageOf(piece)));
    return prepare(`${this.#encoder.name} to 8 bits`, stages, { wholeBatch: true });
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
    const pieces = new Map(this.#products.flatMap((product) => piecesOf(product).map((piece) => [piece.name, piece] as const)));
    const sink = (emitted: string, tensor: HostTensor): void => {
      const [kind = '', ...name] = emitted.split(' ');
      const piece = pieces.get(name.join(' '));
      if (!piece) throw new I2lError('INTERNAL', `${emitted} is no part of an 8-bit copy.`);
      const { product, first } = piece;
      const to = kind === 'values' ? product.values : product.scales;
      if (kind === 'scales' && !(tensor.data as Float32Array).every(Number.isFinite)) throw this.#notFinite(product);
      writer.write(to.name, bytesOf(tensor), first * (tensorBytes(to) / rowCount(product)));
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
    return this.#products.flatMap(({ values, scales }) => [values, scales]);
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
    const has = ({ name, dtype, shape }: TensorSpec): boolean =>
      tensors.get(name)?.dtype === dtype && tensors.get(name)?.shape.join() === shape.join();
    return isSame && tensors.size === specs.length && specs.every(has);
  }
}

/** A file that was mended or brought anew has other times, though samples of it may be the same. */
function identity({ contentId, stamp }: CopiedEncoder): Record<string, string> {
  return { 'i2l.copy-version': VERSION, 'i2l.copy-content': contentId, 'i2l.copy-stamp': stamp };
}

/** The weights that stages multiply by, where 8 bits can hold them, each once. */
function productsOf(stages: readonly Stage[]): Product[] {
  const coarse = stages.filter(({ isSensitive }) => !isSensitive);
  const weights = coarse.flatMap((stage) => joinStages([stage], new Set()).graph.products);
  const distinct = new Map(weights.map((weight) => [placeOf(weight), weight]));
  return [...distinct.values()].flatMap((weight): Product[] => {
    const [out = 0, inner = 0] = weight.shape;
    const block = blockOf(inner);
    if (block === undefined) return [];
    const blocks = blocksOf(inner, block);
    const values = { name: `${weight.name}.values`, dtype: 'U8' as const, shape: [out, blocks, block] };
    return [{ weight, block, values, scales: { name: `${weight.name}.scales`, dtype: 'F32', shape: [out, blocks] } }];
  });
}

/** Where a product's copy lies; of one that is not made, anywhere: its size is what a plan needs. */
function copyOf({ weight, values, scales }: Product, file: SafetensorsFile | undefined, path: string): EightBitWeight {
  const rangeOf = (spec: TensorSpec): Omit<TensorRange, 'dtype'> => {
    const { offset, length } = file?.tensors.get(spec.name) ?? { offset: weight.offset, length: tensorBytes(spec) };
    return { name: spec.name, shape: spec.shape, file: file?.file ?? path, offset, length };
  };
  return { values: rangeOf(values), scales: { ...rangeOf(scales), dtype: 'F32' } };
}

/** Rows of a product that become 8-bit in one stage. */
interface Piece {
  readonly name: string;
  readonly product: Product;
  readonly first: number;
  readonly rows: TensorRange;
}

function rowCount({ weight }: Product): number {
  return weight.shape[0] ?? 0;
}

function piecesOf(product: Product): Piece[] {
  const { weight } = product;
  const all = rowCount(product);
  const rows = Math.max(1, Math.floor((PIECE_VALUES * all) / elementCount(weight.shape)));
  return Array.from({ length: Math.ceil(all / rows) }, (_, i) => {
    const own = rowsOf(weight, i * rows, Math.min(rows, all - i * rows));
    return { name: own.name, product, first: i * rows, rows: own };
  });
}

function stageOf({ name, rows, product }: Piece): Stage {
  return {
    id: `${name} to 8 bits`,
    takes: [],
    build: (g) => {
      const { values, scales } = toEightBit(g, g.weight(rows), product.block);
      return { emit: { [`values ${name}`]: values, [`scales ${name}`]: scales } };
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
  const message = `${folder}: the 8-bit copy of ${id} takes ${gigabytes(bytes)} and ${gigabytes(free)} are free; make room, or go without --fast.`;
  throw new I2lError('DISK_FULL', message, { file: folder, needed: bytes, free });
}
