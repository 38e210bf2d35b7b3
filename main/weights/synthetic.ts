import { DTYPE_BYTES, elementCount } from '../contract/tensor.ts';
import type { Layout } from './fingerprint.ts';
import { toBfloat16 } from './values.ts';
import { SafetensorsWriter } from './write-safetensors.ts';

/**
 * Checkpoints with random weights: for the demo, the benchmarks and the check of a device. They have a
 * real model's layout and say nothing about its output.
 */
export interface SyntheticOptions {
  readonly seed: number;
  readonly dtype?: 'BF16' | 'F32';
  readonly onTensor?: (done: number, total: number) => void;
}

/** A prime, so that rows cut from the pool one after another do not repeat. */
const POOL = 1_048_573;

/** Writes tensors of a layout, each value uniform around what keeps activations of the size of 1. */
export function writeSynthetic(path: string, layout: Layout, { seed, dtype = 'BF16', onTensor }: SyntheticOptions): void {
  const metadata = { synthetic: `random weights, seed ${seed}; not a trained model` };
  const writer = new SafetensorsWriter(path, layout.map(({ name, shape }) => ({ name, shape, dtype })), metadata); // prettier-ignore
  const pools = new Map<string, Uint8Array>();
  let start = seed;
  try {
    layout.forEach(({ name, shape }, done) => {
      const { centre, spread } = distribution(name, shape);
      const pool = cached(pools, `${centre} ${spread}`, () => makePool(centre, spread, seed, dtype));
      start = (start * 1664525 + 1013904223) >>> 0;
      writeFromPool(writer, name, elementCount(shape), pool, start % POOL, DTYPE_BYTES[dtype]);
      onTensor?.(done + 1, layout.length);
    });
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/** Norm weights and layer scales lie around 1, matrices are scaled by their inputs, LoRA factors are small. */
function distribution(name: string, shape: readonly number[]): { centre: number; spread: number } {
  if (shape.length === 1) {
    if (/norm|ln_q|lambda/.test(name) && !name.endsWith('bias')) return { centre: 1, spread: 0.1 };
    return { centre: 0, spread: 0.02 };
  }
  const inputs = elementCount(shape.slice(1));
  const deviation = 1 / Math.sqrt(Math.max(1, inputs));
  return { centre: 0, spread: Math.sqrt(3) * deviation * (/proj_[ab]\.proj_out/.test(name) ? 0.05 : 1) };
}

function makePool(centre: number, spread: number, seed: number, dtype: 'BF16' | 'F32'): Uint8Array {
  const next = mulberry32(seed);
  const value = (): number => centre + spread * (2 * next() - 1);
  if (dtype === 'F32') return new Uint8Array(Float32Array.from({ length: POOL }, value).buffer);
  return new Uint8Array(Uint16Array.from({ length: POOL }, () => toBfloat16(value())).buffer);
}

function writeFromPool(
  writer: SafetensorsWriter,
  name: string,
  count: number,
  pool: Uint8Array,
  start: number,
  size: number,
): void {
  let done = 0;
  let from = start;
  while (done < count) {
    const step = Math.min(count - done, POOL - from);
    writer.write(name, pool.subarray(from * size, (from + step) * size), done * size);
    done += step;
    from = 0;
  }
}

function cached<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** Tommy Ettinger's mulberry32: 32 bits of state, values in [0, 1); the same on every machine. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
