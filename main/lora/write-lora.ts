import { createHash, type Hash } from 'node:crypto';
import type { LORA_DTYPES } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import type { Dtype, HostTensor } from '../contract/tensor.ts';
import { SafetensorsWriter } from '../weights/write-safetensors.ts';
import { loraKey, type Factor, type KeyForm } from './keys.ts';
import { HASH_PLACEHOLDER, type Metadata } from './metadata.ts';
import type { TargetModule } from './targets.ts';

export type LoraDtypeName = (typeof LORA_DTYPES)[number];
export const STORED_DTYPE: Readonly<Record<LoraDtypeName, 'F32' | 'F16' | 'BF16'>> = { f32: 'F32', f16: 'F16', bf16: 'BF16' };

export interface LoraShape {
  readonly modules: readonly TargetModule[];
  /** Of the file: all images' and experts' ranks. */
  readonly rank: number;
  readonly dtype: LoraDtypeName;
  readonly keyForm: KeyForm;
}

/** The two sizes of a factor: A is rank x in, B is out x rank. */
export function factorShape({ in: inner, out }: TargetModule, rank: number, factor: Factor): readonly [number, number] {
  return factor === 'A' ? [rank, inner] : [out, rank];
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
  #next = 0;

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  constructor(path: string, shape: LoraShape, metadata: Metadata) {
    const dtype: Dtype = STORED_DTYPE[shape.dtype];
    const tensors = shape.modules.flatMap((module) =>
      (['A', 'B'] as const).map((factor) => ({
        name: loraKey(shape.keyForm, module.path, factor),
        dtype,
        shape: factorShape(module, shape.rank, factor),
      })),
    );
    this.#shape = shape;
    this.#keys = tensors.map(({ name }) => name);
    this.#writer = new SafetensorsWriter(path, tensors, metadata);
  }

  get bytes(): number {
    return this.#writer.size;
  }

  /** @param tensor values in the file's type: f32, or the bits of f16 or bf16 */
  write(module: string, factor: Factor, { data }: HostTensor): void {
    const key = loraKey(this.#shape.keyForm, module, factor);
    if (key !== this.#keys[this.#next]) throw new I2lError('INTERNAL', `${key} came out of order.`, { key });
    if (!isFinite(data, this.#shape.dtype)) {
      throw new I2lError('NOT_FINITE', `${module}: the expert gave a value that is not a finite number; its file may be damaged.`, {
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
    const hash = this.#hash.digest('hex');
    this.#writer.patchHeader(HASH_PLACEHOLDER, hash);
    this.#writer.finish();
    return hash;
  }

  abort(): void {
    this.#writer.abort();
  }
}

/** An exponent of all ones is an infinity or no number. A plain loop: `every` takes ten times as long. */
function isFinite(data: HostTensor['data'], dtype: LoraDtypeName): boolean {
  const bits = dtype === 'f32' ? new Uint32Array(data.buffer, data.byteOffset, data.length) : (data as Uint16Array);
  const exponent = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 }[dtype];
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & exponent) === exponent) return false;
  return true;
}
