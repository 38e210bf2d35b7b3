import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { readValues } from '../../main/weights/values.ts';

const root = fileURLToPath(new URL('./goldens/', import.meta.url));

export const goldenFolder = (...parts: string[]): string => join(root, ...parts);
export const goldenCases = (network: string): string[] => readdirSync(goldenFolder(network));

/** The single file of a case, or the index of its shards. */
export function modelPath(folder: string, name = 'model'): string {
  const single = join(folder, `${name}.safetensors`);
  return existsSync(single) ? single : `${single}.index.json`;
}

/** All tensors of a small file. */
export function readAll(path: string): Map<string, { shape: readonly number[]; values: Float32Array }> {
  const checkpoint = Checkpoint.open(path);
  return new Map(
    checkpoint
      .layout()
      .flatMap(({ name, shape }) =>
        checkpoint.entry(name)?.dtype === 'F32' ? [[name, { shape, values: readValues(checkpoint.tensor(name, shape)) }]] : [],
      ),
  );
}

/** ||got - wanted|| / ||wanted|| over all values. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  if (got.length !== wanted.length) return Number.POSITIVE_INFINITY;
  for (let i = 0; i < wanted.length; i++) {
    difference += ((got[i] as number) - (wanted[i] as number)) ** 2;
    norm += (wanted[i] as number) ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** Of the angle between two lists of values. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number =>
    Array.from(x).reduce((sum, value, i) => sum + value * (y[i] as number), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
