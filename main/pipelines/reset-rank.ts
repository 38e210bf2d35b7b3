import type { JobResult } from '../contract/engine.ts';
import type { ResetRankJob, SpectrumJob } from '../contract/job.ts';
import { DTYPE_BYTES } from '../contract/tensor.ts';
import { renewedMetadata, SORTED_KEY, type Metadata } from '../lora/metadata.ts';
import { openLora, type Lora } from '../lora/read-lora.ts';
import { answerFor, chooseRanks, type Spectrum } from '../lora/spectrum.ts';
import { STORED_DTYPE, type RankedModule } from '../lora/write-lora.ts';
import type { PipelineContext } from './context.ts';
import { LoraAlgebra, type LoraPass } from './lora-algebra.ts';
import { writeFactors } from './write-factors.ts';
import { writeSpectrum } from './spectrum-file.ts';

/**
 * Gives a LoRA another rank: the best approximation that there is of a smaller one, or room to learn in a
 * larger one. The seed of it is DiffSynth-Studio's reset_rank; that one is randomised and subtracts the
 * column mean, this one is exact.
 */

const SORTED = 'sorted';

export async function computeSpectrum(context: PipelineContext, job: SpectrumJob): Promise<JobResult> {
  const lora = openLora(job.file);
  const pass = spectrumPass(lora);
  const algebra = new LoraAlgebra(context, job, [pass]);
  try {
    const bytes = writeSpectrum(job.output, await spectrumOf(algebra, lora, pass));
    return { type: 'done', output: job.output, bytes, modules: lora.modules.length, ...algebra.summary() };
  } finally {
    await algebra.close();
  }
}

export async function resetRank(context: PipelineContext, job: ResetRankJob): Promise<JobResult> {
  const lora = openLora(job.file);
  return canCut(lora, job) ? cut(context, job, lora) : reset(context, job, lora);
}

/** Ranks that follow from the singular values want a look at all modules first; they never rise above the old ones. */
async function reset(context: PipelineContext, job: ResetRankJob, lora: Lora): Promise<JobResult> {
  const { choice } = job;
  const highest = lora.modules.map((module) => (choice.kind === 'fixed' ? choice.rank : module.rank));
  const look = choice.kind === 'fixed' ? [] : [spectrumPass(lora)];
  const algebra = new LoraAlgebra(context, job, [...look, resetPass(lora, highest, job)]);
  try {
    const [first] = look;
    const ranks = first ? chooseRanks(await spectrumOf(algebra, lora, first), choice) : highest;
    const values: Float64Array[] = [];
    const result = await writeFactors(algebra, job, {
      ...newLora(lora, ranks, job),
      pass: resetPass(lora, ranks, job),
      onFactors: ({ singularValues }) => void values.push(singularValues),
    });
    const answer = answerFor(asSpectrum(lora, values), ranks, DTYPE_BYTES[STORED_DTYPE[job.dtype]]);
    return { ...result, kept: answer.kept, worstKept: answer.worst.kept };
  } finally {
    await algebra.close();
  }
}

function spectrumPass({ modules }: Lora): LoraPass<'spectrum'> {
  return { kind: 'spectrum', tasks: modules.map((module) => ({ module })) };
}

function resetPass({ modules }: Lora, ranks: readonly number[], { split, dtype }: ResetRankJob): LoraPass<'reset'> {
  const tasks = modules.map((module, i) => ({ module, rank: ranks[i] as number, split, dtype: STORED_DTYPE[dtype] }));
  return { kind: 'reset', tasks };
}

async function spectrumOf(algebra: LoraAlgebra, lora: Lora, pass: LoraPass<'spectrum'>): Promise<Spectrum> {
  const values: Float64Array[] = [];
  await algebra.run(pass, (own) => void values.push(own));
  return asSpectrum(lora, values);
}

function asSpectrum({ modules }: Lora, values: readonly Float64Array[]): Spectrum {
  return modules.map(({ path, in: inner, out, rank }, i) => ({
    path,
    in: inner,
    out,
    rank,
    singularValues: values[i] as Float64Array,
  }));
}

/** A sorted LoRA at a smaller fixed rank keeps its first rows and columns as they are. */
function canCut({ file, modules }: Lora, { choice, split }: ResetRankJob): boolean {
  if (file.metadata[SORTED_KEY] !== `${SORTED} ${split}` || choice.kind !== 'fixed') return false;
  return modules.every((module) => module.scale === 1 && module.rank >= choice.rank);
}

async function cut(context: PipelineContext, job: ResetRankJob, lora: Lora): Promise<JobResult> {
  const rank = job.choice.kind === 'fixed' ? job.choice.rank : 0;
  const tasks = lora.modules.map((module) => ({ module, rank, dtype: STORED_DTYPE[job.dtype] }));
  const pass: LoraPass<'cut'> = { kind: 'cut', tasks };
  const algebra = new LoraAlgebra(context, job, [pass]);
  try {
    return await writeFactors(algebra, job, { ...newLora(lora, lora.modules.map(() => rank), job), pass }); // prettier-ignore
  } finally {
    await algebra.close();
  }
}

/** What the file said of itself stays; what the new ranks change is set. */
function newLora(
  { file, modules }: Lora,
  ranks: readonly number[],
  { split, choice }: ResetRankJob,
): { modules: readonly RankedModule[]; metadata: Metadata } {
  return {
    modules: modules.map(({ path, in: inner, out }, i) => ({ path, in: inner, out, rank: ranks[i] as number })),
    metadata: {
      ...renewedMetadata(file.metadata, Math.max(...ranks)),
      'i2l.rank': JSON.stringify(choice),
      [SORTED_KEY]: `${SORTED} ${split}`,
    },
  };
}
