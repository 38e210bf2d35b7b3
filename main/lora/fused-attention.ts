import { I2lError } from '../contract/errors.ts';
import { DTYPE_BYTES, rowsOf, type HostTensor, type TensorRange } from '../contract/tensor.ts';
import { readTensorBytes } from '../weights/safetensors.ts';
import type { Factor, KeyForm } from './keys.ts';
import type { LoraModule } from './read-lora.ts';
import type { RankedModule } from './write-lora.ts';

/**
 * ComfyUI's Z-Image has one linear layer, `qkv`, where diffusers has to_q, to_k and to_v, and calls to_out.0
 * `out` (comfy/utils.py, z_image_to_diffusers). Of kohya's keys it knows only its own names, so in that form
 * the three are written as one: A = [Aq; Ak; Av], B block-diagonal. Read, they are three again.
 */
const BLOCK = '(?:layers|context_refiner|noise_refiner)\\.\\d+\\.attention';
const APART = new RegExp(`^(${BLOCK})\\.(to_q|to_k|to_v|to_out\\.0)$`);
const FUSED = new RegExp(`^(${BLOCK})\\.(qkv|out)$`);
const PARTS = ['to_q', 'to_k', 'to_v'];

/** Whether a module is one of those that ComfyUI has as one. */
export function isPartOfFused(path: string): boolean {
  return PARTS.includes(APART.exec(path)?.[2] ?? '');
}

/** A module as the file has it, and where the LoRA's own modules lie in it. */
export interface StoredModule extends RankedModule {
  readonly parts: readonly StoredPart[];
}

export interface StoredPart {
  readonly module: RankedModule;
  /** Of the stored B. */
  readonly firstRow: number;
  /** Row of the stored A, column of the stored B. */
  readonly firstRank: number;
}

/**
 * The modules as a form stores them, each in the place of the last of its parts. A LoRA that has only some
 * of q, k and v leaves the others' rows of B at zero.
 * @throws I2lError LORA_MISMATCH if q, k and v differ in size
 */
export function storedModules(modules: readonly RankedModule[], keyForm: KeyForm): StoredModule[] {
  if (keyForm !== 'kohya') return modules.map((module) => alone(module));
  const waiting = new Map<string, RankedModule[]>();
  for (const module of modules) {
    const attention = fusedName(module.path);
    if (attention !== undefined) waiting.set(attention, [...(waiting.get(attention) ?? []), module]);
  }
  return modules.flatMap((module) => {
    const attention = fusedName(module.path);
    const parts = attention === undefined ? undefined : waiting.get(attention);
    if (attention === undefined || !parts) return [alone(module, nativeName(module.path))];
    return parts.at(-1) === module ? [fused(attention, parts)] : [];
  });
}

function fusedName(path: string): string | undefined {
  return isPartOfFused(path) ? path.replace(/to_[qkv]$/, 'qkv') : undefined;
}

function nativeName(path: string): string {
  return APART.test(path) ? path.replace(/to_out\.0$/, 'out') : path;
}

function alone(module: RankedModule, path = module.path): StoredModule {
  return { ...module, path, parts: [{ module, firstRow: 0, firstRank: 0 }] };
}

function fused(path: string, modules: readonly RankedModule[]): StoredModule {
  const order = (module: RankedModule): number => PARTS.findIndex((name) => module.path.endsWith(name));
  const [first, ...others] = modules.toSorted((a, b) => order(a) - order(b)) as [RankedModule, ...RankedModule[]];
  const odd = others.find((module) => module.in !== first.in || module.out !== first.out);
  if (odd) {
    throw new I2lError(
      'LORA_MISMATCH',
      `${odd.path} is ${odd.out} x ${odd.in} and ${first.path} ${first.out} x ${first.in}: they can't be written as one layer in kohya's form; choose another key form.`,
      { module: odd.path, reason: 'key-form' },
    );
  }
  let rank = 0;
  const parts = [first, ...others].map((module) => {
    const firstRank = rank;
    rank += module.rank;
    return { module, firstRow: order(module) * module.out, firstRank };
  });
  return { path, in: first.in, out: PARTS.length * first.out, rank, parts };
}

/** A stored factor of its parts' factors, in the order of `parts`. */
export function joinFactors(
  { rank, in: inner, out, parts }: StoredModule,
  factor: Factor,
  tensors: readonly HostTensor[],
): HostTensor {
  const width = factor === 'A' ? inner : rank;
  const rows = factor === 'A' ? rank : out;
  const data = tensors[0]?.data instanceof Float32Array ? new Float32Array(rows * width) : new Uint16Array(rows * width);
  parts.forEach(({ module, firstRow, firstRank }, i) => {
    const part = tensors[i]?.data as Float32Array;
    if (factor === 'A') return data.set(part, firstRank * width);
    for (let row = 0; row < module.out; row++) {
      data.set(part.subarray(row * module.rank, (row + 1) * module.rank), (firstRow + row) * width + firstRank);
    }
  });
  return { data, dims: [rows, width] };
}

/** The modules of a LoRA that a stored one stands for, under diffusers' names. Other models' fused layers stay as they are. */
export function splitStored(module: LoraModule): LoraModule[] {
  const [, attention = '', name] = FUSED.exec(module.path) ?? [];
  if (name === undefined) return [module];
  if (name === 'out') return [{ ...module, path: `${attention}.to_out.0` }];
  if (module.out !== PARTS.length * module.in) return [module];
  const out = module.in;
  return spansOf(columnsInUse(module.b, module.rank), module.rank).flatMap((span, part) => {
    if (!span) return [];
    const { first, rank } = span;
    const [a, b] = [rowsOf(module.a, first, rank), rowsOf(module.b, part * out, out)];
    return [{ ...module, path: `${attention}.${PARTS[part] ?? ''}`, a, b, firstColumn: first, out, rank }];
  });
}

interface Span {
  readonly first: number;
  readonly rank: number;
}

/**
 * The ranks of q, k and v: equal thirds if B is block-diagonal in them (columns of zeros that are there to
 * learn stay), else from the first to the last column that isn't zero; none if all are.
 */
function spansOf(used: readonly (readonly boolean[])[], rank: number): (Span | undefined)[] {
  const third = rank / PARTS.length;
  const inThirds = used.every((columns, part) => columns.every((is, column) => !is || Math.floor(column / third) === part));
  if (Number.isInteger(third) && inThirds) return used.map((_, part) => ({ first: part * third, rank: third }));
  if (used.every((columns) => !columns.includes(true))) return used.map(() => ({ first: 0, rank }));
  return used.map((columns) => {
    const first = columns.indexOf(true);
    return first < 0 ? undefined : { first, rank: columns.lastIndexOf(true) + 1 - first };
  });
}

/** For q, k and v, whether a column of B has a value other than zero in its rows. */
function columnsInUse(b: TensorRange, rank: number): boolean[][] {
  const size = DTYPE_BYTES[b.dtype];
  const own = new Uint8Array(readTensorBytes(b)).buffer;
  const bits = size === 4 ? new Uint32Array(own) : size === 2 ? new Uint16Array(own) : new Uint8Array(own);
  const magnitude = 2 ** (8 * size - 1) - 1; // All but the sign: -0 is zero.
  const values = bits.length / PARTS.length;
  return PARTS.map((_, part) => {
    const used = new Array<boolean>(rank).fill(false);
    for (let at = part * values, column = 0; at < (part + 1) * values; at++) {
      if (((bits[at] as number) & magnitude) !== 0) used[column] = true;
      column = column + 1 === rank ? 0 : column + 1;
    }
    return used;
  });
}
