import { createHash, type Hash } from 'node:crypto';
import type { LORA_DTYPES } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { DTYPE_BYTES, type HostTensor } from '../contract/tensor.ts';
import { float32Bytes } from '../weights/values.ts';
import { SafetensorsWriter, type TensorSpec } from '../weights/write-safetensors.ts';
import { joinFactors, storedModules, type StoredModule } from './fused-attention.ts';
import { alphaKey, loraKey, parseKey, type Factor, type KeyForm } from './keys.ts';
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

const FACTORS = ['A', 'B'] as const;

/** What a stage calls the factor that it emits. */
export const factorName = (path: string, factor: Factor): string => `${path}.${factor}`;

/** Bytes of the factors. */
export function loraBytes(modules: readonly RankedModule[], dtype: LoraDtypeName): number {
  return modules.reduce((sum, module) => sum + module.rank * (module.in + module.out), 0) * DTYPE_BYTES[STORED_DTYPE[dtype]];
}

/**
 * Writes a LoRA as its stages finish: each factor goes straight to its place in the file, so memory does
 * not grow with the number of modules. Factors come in the order of `modules`, A before B, which is the
 * file's order, so the hash of the tensors is taken on the way; parts of a fused layer wait for the last of them.
 */
export class LoraWriter {
  readonly #writer: SafetensorsWriter;
  readonly #shape: LoraShape;
  readonly #stored: ReadonlyMap<string, StoredModule>;
  readonly #order: readonly string[];
  readonly #hash: Hash = createHash('sha256');
  readonly #alphaBytes: readonly Uint8Array[];
  readonly #waiting = new Map<string, HostTensor>();
  #next = 0;

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL, LORA_MISMATCH or LORA_KEYS if the form can't hold the modules */
  constructor(path: string, shape: LoraShape, metadata: Metadata) {
    this.#shape = shape;
    this.#order = shape.modules.flatMap(({ path }) => FACTORS.map((factor) => factorName(path, factor)));
    const stored = storedModules(shape.modules, shape.keyForm);
    checkKeys(path, stored, shape.keyForm);
    this.#stored = new Map(stored.flatMap((module) => module.parts.map((part) => [part.module.path, module])));
    const alphas = alphaTensors(stored, shape.keyForm);
    // Behind the factors, so that these stay in the order in which they come.
    this.#writer = new SafetensorsWriter(path, [...factorTensors(stored, shape), ...alphas.map(({ spec }) => spec)], metadata);
    for (const { spec, rank } of alphas) this.#writer.write(spec.name, float32Bytes(Float32Array.of(rank)));
    this.#writer.writePastCache();
    this.#alphaBytes = alphas.map(({ rank }) => float32Bytes(Float32Array.of(rank)));
  }

  get bytes(): number {
    return this.#writer.size;
  }

  /** @param tensor values in the file's type: f32, or the bits of f16 or bf16 */
  write(module: string, factor: Factor, tensor: HostTensor): void {
    const name = factorName(module, factor);
    const stored = this.#stored.get(module);
    if (!stored || name !== this.#order[this.#next]) throw new I2lError('INTERNAL', `${name} came out of order.`, { key: name });
    if (!tensor.isFinite && !isFinite(tensor.data, this.#shape.dtype)) {
      throw new I2lError(
        'NOT_FINITE',
        `${module}: a value is not a finite number in ${this.#shape.dtype}; ${this.#shape.dtype === 'f16' ? 'it may be too large for f16, or ' : ''}the file that it came from may be damaged.`,
        {
          module,
          factor,
        },
      );
    }
    this.#next++;
    if (stored.parts.length === 1 && stored.out === stored.parts[0]?.module.out) return this.#store(stored, factor, tensor);
    // The runtime's memory is its own again when this returns.
    this.#waiting.set(name, { data: tensor.data.slice(), dims: tensor.dims });
    if (stored.parts.every((part) => this.#waiting.has(factorName(part.module.path, 'B')))) this.#join(stored);
  }

  #join(stored: StoredModule): void {
    for (const factor of FACTORS) {
      const names = stored.parts.map((part) => factorName(part.module.path, factor));
      this.#store(stored, factor, joinFactors(stored, factor, names.map((name) => this.#waiting.get(name) as HostTensor))); // prettier-ignore
      for (const name of names) this.#waiting.delete(name);
    }
  }

  #store({ path }: StoredModule, factor: Factor, { data }: HostTensor): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#writer.write(loraKey(this.#shape.keyForm, path, factor), bytes);
    this.#hash.update(bytes);
  }

  /** Makes the file visible under its name. @returns sha256 of its tensor bytes, hex. @throws as SafetensorsWriter's */
  async finish(): Promise<string> {
    const hash = await this.seal();
    this.publish();
    return hash;
  }

  /** {@link finish} as far as it may fail for want of room: the file is whole, and not visible yet. */
  async seal(): Promise<string> {
    for (const bytes of this.#alphaBytes) this.#hash.update(bytes);
    const hash = this.#hash.digest('hex');
    await this.#writer.settled();
    this.#writer.patchHeader(HASH_PLACEHOLDER, hash);
    this.#writer.seal();
    return hash;
  }

  publish(): void {
    this.#writer.publish();
  }

  abort(): void {
    this.#writer.abort();
  }
}

/** Every key has to say which module it is of: kohya's form can't, of a model that we don't know. */
function checkKeys(file: string, modules: readonly StoredModule[], keyForm: KeyForm): void {
  const lost = modules.filter(({ path }) => parseKey(loraKey(keyForm, path, 'A'))?.module !== path).map(({ path }) => path);
  if (lost.length === 0) return;
  throw new I2lError(
    'LORA_KEYS',
    `${file}: ${keyForm} keys can't be read back for ${lost.length} modules, such as ${lost[0] ?? ''}; choose another key form.`,
    { file, keys: lost.slice(0, 1000), reason: 'key-form' },
  );
}

function factorTensors(modules: readonly StoredModule[], { keyForm, dtype }: LoraShape): TensorSpec[] {
  return modules.flatMap((module) =>
    FACTORS.map((factor) => ({
      name: loraKey(keyForm, module.path, factor),
      dtype: STORED_DTYPE[dtype],
      shape: factorShape(module, factor),
    })),
  );
}

/** All scale is in the factors, so where a form wants an alpha it equals the rank. */
function alphaTensors(modules: readonly StoredModule[], keyForm: KeyForm): { spec: TensorSpec; rank: number }[] {
  return modules.flatMap(({ path, rank }) => {
    const name = alphaKey(keyForm, path);
    return name === undefined ? [] : [{ spec: { name, dtype: 'F32', shape: [] }, rank }];
  });
}

/**
 * An exponent of all ones is an infinity or no number: one added to its lowest bit, it reaches the sign's
 * place. Two 16-bit values are looked at as one; a loop over each value takes three times as long.
 */
function isFinite(data: HostTensor['data'], dtype: LoraDtypeName): boolean {
  const { buffer, byteOffset, byteLength } = data.byteOffset % 4 === 0 ? data : data.slice();
  const { exponents, lowest, signs } = FINITE[dtype];
  const words = new Int32Array(buffer, byteOffset, byteLength >> 2);
  let reached = 0;
  for (let i = 0; i < words.length; i++) reached |= ((words[i] as number) & exponents) + lowest;
  const last = byteLength % 4 === 0 ? 0 : (new Uint16Array(buffer, byteOffset + byteLength - 2, 1)[0] as number);
  reached |= (last & exponents & 0xffff) + (lowest & 0xffff);
  return (reached & signs) === 0;
}

const FINITE = {
  f32: { exponents: 0x7f800000, lowest: 0x00800000, signs: 0x80000000 },
  bf16: { exponents: 0x7f807f80, lowest: 0x00800080, signs: 0x80008000 },
  f16: { exponents: 0x7c007c00, lowest: 0x04000400, signs: 0x80008000 },
} as const;
