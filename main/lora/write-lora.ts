import { createHash, type Hash } from 'node:crypto';
import type { LORA_DTYPES } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { DTYPE_BYTES, type HostTensor } from '../contract/tensor.ts';
import { float32Bytes } from '../weights/values.ts';
import { SafetensorsWriter, type TensorSpec } from '../weights/write-safetensors.ts';
import { alphaKey, loraKey, type Factor, type KeyForm } from './keys.ts';
import { HASH_PLACEHOLDER, type Metadata } from './metadata.ts';

export type LoraDtypeName = (typeof LORA_DTYPES)[number];
/** Storage types of a LoRA file. */
export type StoredDtype = 'F32' | 'F16' | 'BF16';
export const STORED_DTYPE: Readonly<Record<LoraDtypeName, StoredDtype>> = { f32: 'F32', f16: 'F16', bf16: 'BF16' };

/** A module of the file: dW is out x in; its rank counts those of all images and experts. */
export interface RankedModule {
  readonly path: string;
  readonly in: number;
  readonly out: number;
  readonly rank: number;
}

export interface LoraShape {
  readonly modules: readonly RankedModule[];
  readonly dtype: LoraDtypeName;
  readonly keyForm: KeyForm;
}

/** The two sizes of a factor: A is rank x in, B is out x rank. */
export function factorShape({ in: inner, out, rank }: RankedModule, factor: Factor): readonly [number, number] {
  return factor === 'A' ? [rank, inner] : [out, rank];
}

/** What a stage calls the factor that it emits. */
export const factorName = (path: string, factor: Factor): string => `${path}.${factor}`;

/** Bytes of the factors. */
export function loraBytes(modules: readonly RankedModule[], dtype: LoraDtypeName): number {
  return modules.reduce((sum, module) => sum + module.rank * (module.in + module.out), 0) * DTYPE_BYTES[STORED_DTYPE[dtype]];
}

/**
 * Writes a LoRA as its stages finish: each factor goes straight to its place in the file, so memory does
 * not grow with the number of modules. Factors come in file order, module by module, A before B; that
 * lets the hash of the tensors be taken on the way.
 */
export class LoraWriter {
  readonly #writer: SafetensorsWriter;
  readonly #shape: LoraShape;
  readonly #keys: readonly string[];
  readonly #hash: Hash = createHash('sha256');
  readonly #alphaBytes: readonly Uint8Array[];
  #next = 0;

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  constructor(path: string, shape: LoraShape, metadata: Metadata) {
    this.#shape = shape;
    this.#keys = shape.modules.flatMap(({ path }) => (['A', 'B'] as const).map((factor) => loraKey(shape.keyForm, path, factor)));
    const alphas = alphaTensors(shape);
    // Behind the factors, so that these stay in the order in which they come.
    this.#writer = new SafetensorsWriter(path, [...factorTensors(shape), ...alphas.map(({ spec }) => spec)], metadata);
    for (const { spec, rank } of alphas) this.#writer.write(spec.name, float32Bytes(Float32Array.of(rank)));
    this.#alphaBytes = alphas.map(({ rank }) => float32Bytes(Float32Array.of(rank)));
  }

  get bytes(): number {
    return this.#writer.size;
  }

  /** @param tensor values in the file's type: f32, or the bits of f16 or bf16 */
  write(module: string, factor: Factor, { data }: HostTensor): void {
    const key = loraKey(this.#shape.keyForm, module, factor);
    if (key !== this.#keys[this.#next]) throw new I2lError('INTERNAL', `${key} came out of order.`, { key });
    if (!isFinite(data, this.#shape.dtype)) {
      throw new I2lError('NOT_FINITE', `${module}: a value is not a finite number; the file that it came from may be damaged.`, {
        module,
        factor,
      });
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#writer.write(key, bytes);
    this.#hash.update(bytes);
    this.#next++;
  }

  /** Makes the file visible under its name. @returns sha256 of its tensor bytes, hex */
  finish(): string {
    if (this.#next !== this.#keys.length) {
      throw new I2lError('INTERNAL', `${this.#keys[this.#next] ?? ''} was never written.`);
    }
    for (const bytes of this.#alphaBytes) this.#hash.update(bytes);
    const hash = this.#hash.digest('hex');
    this.#writer.patchHeader(HASH_PLACEHOLDER, hash);
    this.#writer.finish();
    return hash;
  }

  abort(): void {
    this.#writer.abort();
  }
}

function factorTensors({ modules, keyForm, dtype }: LoraShape): TensorSpec[] {
  return modules.flatMap((module) =>
    (['A', 'B'] as const).map((factor) => ({
      name: loraKey(keyForm, module.path, factor),
      dtype: STORED_DTYPE[dtype],
      shape: factorShape(module, factor),
    })),
  );
}

/** All scale is in the factors, so where a form wants an alpha it equals the rank. */
function alphaTensors({ modules, keyForm }: LoraShape): { spec: TensorSpec; rank: number }[] {
  return modules.flatMap(({ path, rank }) => {
    const name = alphaKey(keyForm, path);
    return name === undefined ? [] : [{ spec: { name, dtype: 'F32', shape: [] }, rank }];
  });
}

/** An exponent of all ones is an infinity or no number. A plain loop: `every` takes ten times as long. */
function isFinite(data: HostTensor['data'], dtype: LoraDtypeName): boolean {
  const bits = dtype === 'f32' ? new Uint32Array(data.buffer, data.byteOffset, data.length) : (data as Uint16Array);
  const exponent = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 }[dtype];
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & exponent) === exponent) return false;
  return true;
}
