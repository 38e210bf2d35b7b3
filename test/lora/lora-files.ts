import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobResult } from '../../main/contract/engine.ts';
import type { Job } from '../../main/contract/job.ts';
import { openLora, type Lora } from '../../main/lora/read-lora.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { float32Bytes, readValues } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';

/** A matrix of a test, row-major. */
export interface Dense {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

export interface TestModule {
  readonly path: string;
  readonly a: Dense;
  readonly b: Dense;
}

export function withFolder(prefix: string): { folder: string; clear: () => void } {
  const folder = mkdtempSync(join(tmpdir(), `i2l-${prefix}-`));
  return { folder, clear: () => rmSync(folder, { recursive: true, force: true }) };
}

export function randomDense(rows: number, columns: number, seed: number, size = 1): Dense {
  const next = mulberry32(seed);
  return { rows, columns, values: Float64Array.from({ length: rows * columns }, () => Math.fround(size * (2 * next() - 1))) };
}

export function multiply(a: Dense, b: Dense): Dense {
  const values = new Float64Array(a.rows * b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      const left = a.values[i * a.columns + k]!;
      for (let j = 0; j < b.columns; j++) values[i * b.columns + j]! += left * b.values[k * b.columns + j]!;
    }
  }
  return { rows: a.rows, columns: b.columns, values };
}

export function norm({ values }: Dense): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
}

export function minus(a: Dense, b: Dense): Dense {
  return { ...a, values: a.values.map((value, i) => value - b.values[i]!) };
}

type KeyOf = (path: string, factor: 'A' | 'B') => string;
const plain: KeyOf = (path, factor) => `${path}.lora_${factor}.weight`;

/** Writes an f32 LoRA. @param alphas by module; the key is the module's name in `keyOf`'s form, up to its factor */
export function writeLora(
  path: string,
  modules: readonly TestModule[],
  keyOf: KeyOf = plain,
  extra: Record<string, number> = {},
  metadata: Readonly<Record<string, string>> = {},
): string {
  const tensors = modules.flatMap((module) =>
    (['A', 'B'] as const).map((factor) => {
      const { rows, columns, values } = factor === 'A' ? module.a : module.b;
      return {
        name: keyOf(module.path, factor),
        dtype: 'F32' as const,
        shape: [rows, columns],
        bytes: float32Bytes(Float32Array.from(values)),
      };
    }),
  );
  const scalars = Object.entries(extra).map(([name, value]) => ({
    name,
    dtype: 'F32' as const,
    shape: [],
    bytes: float32Bytes(Float32Array.of(value)),
  }));
  writeSafetensors(path, [...tensors, ...scalars], metadata);
  return path;
}

/** The dense dW of each module of a file. */
export function denseOf(file: string | Lora): Map<string, Dense> {
  const lora = typeof file === 'string' ? openLora(file) : file;
  return new Map(
    lora.modules.map((module) => {
      const a = { rows: module.rank, columns: module.in, values: Float64Array.from(readValues(module.a)) };
      const [rows = 0, columns = 0] = module.b.shape;
      const stored = Float64Array.from(readValues(module.b));
      const own = stored.filter((_, at) => at % columns >= module.firstColumn && at % columns < module.firstColumn + module.rank);
      const b = { rows, columns: module.rank, values: own };
      const product = multiply(b, a);
      return [module.path, { ...product, values: product.values.map((value) => value * module.scale) }];
    }),
  );
}

const engine = { memory: 2 ** 30, device: 'cpu', threads: 1 } as const;
const silent = { emit: () => undefined, signal: new AbortController().signal };

type Without<T> = T extends unknown ? Omit<T, keyof typeof engine> : never;

export function run(job: Without<Job>): Promise<JobResult> {
  return runJob(silent, { ...job, ...engine } as Job);
}
