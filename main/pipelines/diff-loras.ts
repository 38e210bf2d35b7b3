import { I2lError } from '../contract/errors.ts';
import type { DiffJob, JobResult } from '../contract/job.ts';
import type { HostTensor } from '../contract/tensor.ts';
import { openLora, type LoraModule } from '../lora/read-lora.ts';
import { productName, productStages, type Side } from '../networks/lora-factors.ts';
import { prepare, type PipelineContext } from './context.ts';
import { startAlgebra } from './write-factors.ts';

type Comparison = NonNullable<JobResult['comparison']>[number];

/** Compares two LoRAs by what they do, dW, module by module, however their factors and keys are. */
export async function diffLoras(context: PipelineContext, job: DiffJob): Promise<JobResult> {
  const [a, b] = [openLora(job.a), openLora(job.b)];
  const others = new Map(b.modules.map((module) => [module.path, module]));
  const pairs = a.modules.flatMap((module) => {
    const other = others.get(module.path);
    return other ? [checked(module, other)] : [];
  });
  const products = new Map<string, number>();
  const network = prepare('diff', productStages(pairs), true);
  const runner = startAlgebra(context, job, network);
  try {
    const sink = (name: string, { data }: HostTensor): void => void products.set(name, Number(data[0]));
    if (pairs.length > 0) await runner.run(network, { load: () => ({}), sink });
    const known = new Set(a.modules.map(({ path }) => path));
    const comparison = [
      ...a.modules.map(({ path }) => (others.has(path) ? compare(path, products) : only(path, 'a'))),
      ...b.modules.filter(({ path }) => !known.has(path)).map(({ path }) => only(path, 'b')),
    ];
    return { type: 'done', modules: pairs.length, comparison, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

function checked(one: LoraModule, other: LoraModule): readonly [LoraModule, LoraModule] {
  if (one.in === other.in && one.out === other.out) return [one, other];
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

function only(module: string, side: 'a' | 'b'): Comparison {
  return { module, only: side };
}

/** Inner products in double precision: a relative error below about 1e-8 is their rounding and shown as 0. */
function compare(module: string, products: ReadonlyMap<string, number>): Comparison {
  const product = (side: Side): number => products.get(productName(module, side)) ?? Number.NaN;
  const [aa, bb, ab] = [product('aa'), product('bb'), product('ab')];
  const difference = aa + bb - 2 * ab;
  const negligible = difference <= 4e-16 * (aa + bb);
  const relativeError = negligible ? 0 : Math.sqrt(difference / aa);
  return {
    module,
    ...(aa > 0 ? { relativeError } : {}),
    ...(aa > 0 && bb > 0 ? { cosine: Math.min(1, Math.max(-1, ab / Math.sqrt(aa * bb))) } : {}),
  };
}
