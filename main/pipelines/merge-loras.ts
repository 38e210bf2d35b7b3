import { I2lError } from '../contract/errors.ts';
import type { JobResult } from '../contract/engine.ts';
import type { MergeJob } from '../contract/job.ts';
import { renewedMetadata, warningOf, type Metadata } from '../lora/metadata.ts';
import { openLora, type Lora } from '../lora/read-lora.ts';
import { STORED_DTYPE, type RankedModule } from '../lora/write-lora.ts';
import type { Part } from '../networks/lora-factors.ts';
import type { PipelineContext } from './context.ts';
import { LoraAlgebra, type LoraPass } from './lora-algebra.ts';
import { writeFactors } from './write-factors.ts';

/**
 * Puts LoRAs side by side along the rank: the result is the exact weighted sum of their dW. A module that
 * only some of them have keeps their ranks alone.
 */
export async function mergeLoras(context: PipelineContext, job: MergeJob): Promise<JobResult> {
  const loras = job.inputs.map(({ file }) => openLora(file));
  const parts = partsByModule(loras, job.inputs.map(({ strength }) => strength)); // prettier-ignore
  const modules = [...parts].map(([path, own]) => ranked(path, own));
  const metadata = {
    ...renewedMetadata(originOf(loras), Math.max(...modules.map(({ rank }) => rank))),
    ...warningOf(loras.filter((_, i) => job.inputs[i]?.strength !== 0).map(({ file }) => file.metadata)),
    'modelspec.merged_from': loras.map(({ file }) => file.metadata['modelspec.title'] ?? 'LoRA').join(', '),
    'i2l.merge': JSON.stringify(
      loras.map(({ file }, i) => ({ hash: file.metadata['sshs_model_hash'] ?? '', strength: job.inputs[i]?.strength })),
    ),
  };
  const tasks = [...parts].map(([path, own]) => ({ path, parts: own, dtype: STORED_DTYPE[job.dtype] }));
  const pass: LoraPass<'merge'> = { kind: 'merge', tasks };
  const algebra = new LoraAlgebra(context, job, [pass]);
  try {
    return await writeFactors(algebra, job, { modules, metadata, pass });
  } finally {
    await algebra.close();
  }
}

/** What the first says of itself; of a sum it is not true that it was made of the first one's images. */
function originOf([first, ...others]: readonly Lora[]): Metadata {
  const metadata = first?.file.metadata ?? {};
  if (others.length === 0) return metadata;
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !OF_ONE.includes(key)));
}

const OF_ONE = ['i2l.recipe', 'i2l.images', 'i2l.experts', 'i2l.encoders'];

/** In the order of the first LoRA, then what the next ones add. A strength of zero leaves the ranks out. */
function partsByModule(loras: readonly Lora[], strengths: readonly number[]): Map<string, Part[]> {
  const parts = new Map<string, Part[]>();
  loras.forEach((lora, i) => {
    const strength = strengths[i] ?? 1;
    if (strength === 0) return;
    for (const module of lora.modules) {
      const own = parts.get(module.path) ?? [];
      own.push({ module, factor: strength * module.scale });
      parts.set(module.path, own);
    }
  });
  if (parts.size === 0)
    throw new I2lError('BAD_ARGUMENT', 'Every strength is zero, so there is nothing to merge.', {
      option: 'inputs',
      reason: 'nothing-to-merge',
    });
  return parts;
}

/** @throws I2lError LORA_MISMATCH where two LoRAs see a layer of different sizes */
function ranked(path: string, parts: readonly Part[]): RankedModule {
  const [first] = parts;
  const odd = parts.find(({ module }) => module.in !== first?.module.in || module.out !== first.module.out);
  if (!first || odd) {
    const file = odd?.module.a.file ?? '';
    throw new I2lError('LORA_MISMATCH', `${file}: ${path} is ${odd?.module.out} x ${odd?.module.in}, and another LoRA's is ${first?.module.out} x ${first?.module.in}; they are for different models.`, { file, module: path }); // prettier-ignore
  }
  const rank = parts.reduce((sum, { module }) => sum + module.rank, 0);
  return { path, in: first.module.in, out: first.module.out, rank };
}
