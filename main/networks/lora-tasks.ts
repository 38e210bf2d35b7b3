import { I2lError } from '../contract/errors.ts';
import { rowsOf, type HostTensor, type TensorMap, type TensorRange } from '../contract/tensor.ts';
import { decompose, type Decomposition } from '../lora/decompose.ts';
import type { LoraModule } from '../lora/read-lora.ts';
import type { StoredDtype } from '../lora/write-lora.ts';
import type { Kernel, Kernels } from '../offload/kernels.ts';
import { mulberry32 } from '../weights/synthetic.ts';
import { columnsOf, readBits } from '../weights/values.ts';
import { cutKernel, gramKernel, innerProductsKernel, mergeKernel, recombineKernel, type Part } from './lora-factors.ts';

/**
 * What LoRA algebra does to one module: its factors are read from the file, worked on, and forgotten. A task
 * is plain data, so that a thread can be given it.
 */
export interface Tasks {
  /** The singular values of dW, falling. */
  readonly spectrum: { readonly module: LoraModule };
  /** Factors of another rank: the largest components, and above dW's own rank room to learn. */
  readonly reset: { readonly module: LoraModule; readonly rank: number; readonly split: Split; readonly dtype: StoredDtype };
  /** The first rows of A and columns of B as they are. */
  readonly cut: { readonly module: LoraModule; readonly rank: number; readonly dtype: StoredDtype };
  /** The same module of several LoRAs, side by side along the rank. */
  readonly merge: { readonly path: string; readonly parts: readonly Part[]; readonly dtype: StoredDtype };
  /** The inner products of the same module in two LoRAs. */
  readonly compare: { readonly first: LoraModule; readonly second: LoraModule };
}

export type Split = 'b-heavy' | 'balanced';

export interface Results {
  readonly spectrum: Float64Array;
  readonly reset: NewFactors & { readonly singularValues: Float64Array };
  readonly cut: NewFactors;
  readonly merge: NewFactors;
  readonly compare: InnerProducts;
}

/** New factors in the type that a file stores: A [rank, in], B [out, rank]. */
export interface NewFactors {
  readonly a: HostTensor;
  readonly b: HostTensor;
}

/** <dW0, dW0>, <dW1, dW1> and <dW0, dW1>. */
export interface InnerProducts {
  readonly ff: number;
  readonly ss: number;
  readonly fs: number;
}

export type Kind = keyof Tasks;

/** One kind of task. */
interface Rule<K extends Kind> {
  /** Whether it computes for longer than its results take to be handed from thread to thread. */
  readonly isHeavy: boolean;
  readonly path: (task: Tasks[K]) => string;
  /** What it reads. */
  readonly ranges: (task: Tasks[K]) => readonly TensorRange[];
  /** What it runs, one after another, at their largest. */
  readonly kernels: (task: Tasks[K]) => readonly Kernel[];
  /** @throws I2lError NOT_FINITE, SESSION_FAILED, FILE_UNREADABLE */
  readonly perform: (task: Tasks[K], kernels: Kernels) => Promise<Results[K]>;
}

const RULES: { readonly [K in Kind]: Rule<K> } = {
  spectrum: {
    isHeavy: true,
    path: ({ module }) => module.path,
    ranges: ({ module }) => [module.a, module.b],
    kernels: ({ module }) => [gramKernel(module)],
    perform: async ({ module }, kernels) => (await decomposed(kernels, module, bothFactors(module))).singularValues,
  },
  reset: {
    isHeavy: true,
    path: ({ module }) => module.path,
    ranges: ({ module }) => [module.a, module.b],
    kernels: ({ module, rank, dtype }) => [
      gramKernel(module),
      recombineKernel(module, { kept: Math.min(rank, module.rank), rank }, dtype),
    ],
    perform: reset,
  },
  cut: {
    isHeavy: false,
    path: ({ module }) => module.path,
    ranges: ({ module: { a, b }, rank }) => [rowsOf(a, 0, rank), b],
    kernels: ({ module, rank, dtype }) => (isAsStored(module, dtype) ? [] : [cutKernel(module, rank, dtype)]),
    perform: async ({ module, rank, dtype }, kernels) => {
      const [a, b] = [readBits(rowsOf(module.a, 0, rank)), readBits(module.b)];
      if (isAsStored(module, dtype)) return { a, b: columnsOf(b, module.firstColumn, rank) };
      return newFactors(kernels, cutKernel(module, rank, dtype), { a, b });
    },
  },
  merge: {
    isHeavy: false,
    path: ({ path }) => path,
    ranges: ({ parts }) => parts.flatMap(({ module: { a, b } }) => [a, b]),
    kernels: ({ parts, dtype }) => [mergeKernel(parts, dtype)],
    perform: ({ parts, dtype }, kernels) =>
      newFactors(kernels, mergeKernel(parts, dtype), numberedFactors(parts.map(({ module }) => module))),
  },
  compare: {
    isHeavy: true,
    path: ({ first }) => first.path,
    ranges: ({ first, second }) => [first.a, first.b, second.a, second.b],
    kernels: ({ first, second }) => [innerProductsKernel(first, second)],
    perform: async ({ first, second }, kernels) => {
      const { ff, ss, fs } = await kernels.run(innerProductsKernel(first, second), numberedFactors([first, second]));
      const products = { ff: only(ff), ss: only(ss), fs: only(fs) };
      if (!Number.isFinite(products.ff)) throw notFinite(first);
      if (!Number.isFinite(products.ss)) throw notFinite(second);
      return products;
    },
  },
};

/** A task as a thread is sent it. */
export interface SentTask<K extends Kind = Kind> {
  readonly kind: K;
  readonly task: Tasks[K];
}

export function performTask<K extends Kind>({ kind, task }: SentTask<K>, kernels: Kernels): Promise<Results[K]> {
  return RULES[kind].perform(task, kernels);
}

/** Whether threads of their own make tasks of a kind faster. */
export function isHeavy(kind: Kind): boolean {
  return RULES[kind].isHeavy;
}

/** The module that a task is about. */
export function taskPath<K extends Kind>({ kind, task }: SentTask<K>): string {
  return RULES[kind].path(task);
}

/** Bytes that a task reads. */
export function taskBytes<K extends Kind>({ kind, task }: SentTask<K>): number {
  return RULES[kind].ranges(task).reduce((sum, { length }) => sum + length, 0);
}

export function taskKernels<K extends Kind>({ kind, task }: SentTask<K>): readonly Kernel[] {
  return RULES[kind].kernels(task);
}

async function reset({ module, rank, split, dtype }: Tasks['reset'], kernels: Kernels): Promise<Results['reset']> {
  const feeds = bothFactors(module);
  const decomposition = await decomposed(kernels, module, feeds);
  const { singularValues } = decomposition;
  const kept = Math.min(rank, singularValues.length);
  const start = rank > kept ? { start: startingRows(module, rank - kept) } : {};
  const own = kept > 0 ? { ...feeds, ...firstComponents(decomposition, module.rank, kept, split) } : {};
  const factors = await newFactors(kernels, recombineKernel(module, { kept, rank }, dtype), { ...own, ...start });
  return { ...factors, singularValues };
}

function isAsStored({ a, b }: LoraModule, dtype: StoredDtype): boolean {
  return a.dtype === dtype && b.dtype === dtype;
}

async function decomposed(kernels: Kernels, module: LoraModule, feeds: TensorMap): Promise<Decomposition> {
  const { gramA, gramB } = await kernels.run(gramKernel(module), feeds);
  const [a, b] = [gramA?.data, gramB?.data] as [Float64Array, Float64Array];
  if (!a.every(Number.isFinite) || !b.every(Number.isFinite)) throw notFinite(module);
  return decompose(a, b, module.rank, module.scale);
}

async function newFactors(kernels: Kernels, kernel: Kernel, feeds: TensorMap): Promise<NewFactors> {
  const { newA, newB } = await kernels.run(kernel, feeds);
  if (!newA || !newB) throw new I2lError('INTERNAL', `The kernel ${kernel.name} gave no factors.`);
  return { a: newA, b: newB };
}

/** The first components, their singular values put where the split wants them: as `recombineKernel` takes them. */
function firstComponents({ singularValues, right, left }: Decomposition, old: number, kept: number, split: Split): TensorMap {
  const all = singularValues.length;
  const newRight = new Float64Array(kept * old);
  const newLeft = new Float64Array(old * kept);
  for (let i = 0; i < kept; i++) {
    const root = split === 'balanced' ? Math.sqrt(singularValues[i] as number) : 1;
    for (let r = 0; r < old; r++) {
      newRight[i * old + r] = (right[i * old + r] as number) * root;
      newLeft[r * kept + i] = (left[r * all + i] as number) / root;
    }
  }
  return { right: { data: newRight, dims: [kept, old] }, left: { data: newLeft, dims: [old, kept] } };
}

/** torch's start of a LoRA's A: kaiming_uniform with a = sqrt(5), which is uniform in +- 1 / sqrt(in). */
function startingRows({ in: inner, path }: LoraModule, rows: number): HostTensor {
  const next = mulberry32(seedOf(path));
  const bound = 1 / Math.sqrt(inner);
  const data = new Float32Array(rows * inner);
  for (let i = 0; i < data.length; i++) data[i] = bound * (2 * next() - 1); // Float32Array.from takes ten times as long.
  return { data, dims: [rows, inner] };
}

/** FNV-1a: a start of its own for each module, the same every time. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

function bothFactors({ a, b }: LoraModule): TensorMap {
  return { a: readBits(a), b: readBits(b) };
}

function numberedFactors(modules: readonly LoraModule[]): TensorMap {
  return Object.fromEntries(modules.flatMap(({ a, b }, i) => [[`a${i}`, readBits(a)] as const, [`b${i}`, readBits(b)] as const]));
}

function only(tensor: HostTensor | undefined): number {
  return Number(tensor?.data[0] ?? Number.NaN);
}

function notFinite({ path, a: { file } }: LoraModule): I2lError {
  const message = `${file}: ${path}: it holds a value that is not a finite number; the file may be damaged.`;
  return new I2lError('NOT_FINITE', message, { file, module: path });
}
