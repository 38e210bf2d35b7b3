import { I2lError } from '../contract/errors.ts';
import type { JobResult } from '../contract/engine.ts';
import type { DiffJob } from '../contract/job.ts';
import { openLora, type LoraModule } from '../lora/read-lora.ts';
import type { InnerProducts, Tasks } from '../networks/lora-tasks.ts';
import type { PipelineContext } from './context.ts';
import { LoraAlgebra, type LoraPass } from './lora-algebra.ts';

type Comparison = NonNullable<JobResult['comparison']>[number];

/** Compares two LoRAs by what they do, dW, module by module, however their factors and keys are. */
export async function diffLoras(context: PipelineContext, job: DiffJob): Promise<JobResult> {
  const [a, b] = [openLora(job.a), openLora(job.b)];
  const others = new Map(b.modules.map((module) => [module.path, module]));
  const pairs = a.modules.flatMap((module) => {
    const other = others.get(module.path);
    return other ? [checked(module, other)] : [];
  });
  const pass: LoraPass<'compare'> = { kind: 'compare', tasks: pairs };
  const algebra = new LoraAlgebra(context, job, [pass]);
  try {
    const products = new Map<string, InnerProducts>();
    await algebra.run(pass, (result, at) => void products.set(pairs[at]?.first.path ?? '', result));
    const known = new Set(a.modules.map(({ path }) => path));
    const comparison = [
      ...a.modules.map(({ path }) => compare(path, products.get(path))),
      ...b.modules.filter(({ path }) => !known.has(path)).map(({ path }) => ({ module: path, only: 'b' as const })),
    ];
    return { type: 'done', modules: pairs.length, comparison, ...algebra.summary() };
  } finally {
    await algebra.close();
  }
}

function checked(one: LoraModule, other: LoraModule): Tasks['compare'] {
  if (one.in === other.in && one.out === other.out) return { first: one, second: other };
  const sizes = `${one.out} x ${one.in} and ${other.out} x ${other.in}`;
  throw new I2lError(
    'LORA_MISMATCH',
    `${other.a.file}: ${one.path} has the sizes ${sizes} in the two files; they are for different models.`,
    {
      file: other.a.file,
      module: one.path,
    },
  );
}

/** Inner products in double precision: a relative error below about 1e-8 is their rounding and shown as 0. */
function compare(module: string, products: InnerProducts | undefined): Comparison {
  if (!products) return { module, only: 'a' };
  const { ff, ss, fs } = products;
  const difference = ff + ss - 2 * fs;
  const relativeError = difference <= 4e-16 * (ff + ss) ? 0 : Math.sqrt(difference / ff);
  return {
    module,
    ...(ff > 0 ? { relativeError } : {}),
    ...(ff > 0 && ss > 0 ? { cosine: Math.min(1, Math.max(-1, fs / Math.sqrt(ff * ss))) } : {}),
  };
}
