import { I2lError } from '../contract/errors.ts';
import type { JobResult, ResetRankJob, SpectrumJob } from '../contract/job.ts';
import { decompose, type Decomposition } from '../lora/decompose.ts';
import { renewedMetadata, type Metadata } from '../lora/metadata.ts';
import { openLora, type Lora, type LoraModule } from '../lora/read-lora.ts';
import { answerFor, chooseRanks, type Spectrum } from '../lora/spectrum.ts';
import { STORED_DTYPE } from '../lora/write-lora.ts';
import { cutStages, gramName, gramStages, recombineStages, type Recombined } from '../networks/lora-factors.ts';
import { DTYPE_BYTES } from '../contract/tensor.ts';
import { prepare, type NetworkRunner, type PipelineContext, type PreparedNetwork } from './context.ts';
import { startAlgebra, writeFactors } from './write-factors.ts';
import { writeSpectrum } from './spectrum-file.ts';

/**
 * Gives a LoRA another rank: the best approximation that there is of a smaller one, or room to learn in a
 * larger one. The seed of it is DiffSynth-Studio's reset_rank; that one is randomised and subtracts the
 * column mean, this one is exact.
 */

/** Says in a file that its components fall by singular value, so that a smaller rank is a cut. */
const SORTED_KEY = 'i2l.components';
const SORTED = 'sorted';

interface Analysis {
  readonly decompositions: readonly Decomposition[];
  readonly spectrum: Spectrum;
}

export async function computeSpectrum(context: PipelineContext, job: SpectrumJob): Promise<JobResult> {
  const lora = openLora(job.file);
  const gram = prepare('spectrum', gramStages(lora.modules), true);
  const runner = startAlgebra(context, job, gram);
  try {
    const { spectrum } = await analyse(runner, gram, lora);
    const bytes = writeSpectrum(job.output, spectrum);
    return { type: 'done', output: job.output, bytes, modules: lora.modules.length, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

export async function resetRank(context: PipelineContext, job: ResetRankJob): Promise<JobResult> {
  const lora = openLora(job.file);
  if (canCut(lora, job)) return cut(context, job, lora);
  const gram = prepare('analysis', gramStages(lora.modules), true);
  const first = startAlgebra(context, job, gram);
  const { decompositions, spectrum } = await analyse(first, gram, lora).finally(() => first.close());
  const ranks = chooseRanks(spectrum, job.choice);
  const recombined = lora.modules.map((module, i) =>
    recombine(module, decompositions[i] as Decomposition, ranks[i] as number, job.split),
  );
  const answer = answerFor(spectrum, ranks, DTYPE_BYTES[STORED_DTYPE[job.dtype]]);
  const stages = prepare('factors', recombineStages(recombined, STORED_DTYPE[job.dtype]), true);
  const result = await write(context, job, lora, ranks, stages);
  return { ...result, kept: answer.kept, worstKept: answer.worst.kept };
}

async function analyse(runner: NetworkRunner, gram: PreparedNetwork, { modules, file }: Lora): Promise<Analysis> {
  const grams = new Map<string, Float64Array>();
  await runner.run(gram, {
    load: () => ({}),
    sink: (name, { data }) => void grams.set(name, data as Float64Array),
  });
  const decompositions = modules.map((module) => {
    const [a, b] = [grams.get(gramName(module.path, 'A')), grams.get(gramName(module.path, 'B'))];
    if (!a || !b) throw new I2lError('INTERNAL', `${module.path} has no Gram matrices.`);
    if (![...a, ...b].every((value) => Number.isFinite(value))) throw notFinite(file.file, module.path);
    return decompose(a, b, module.rank, module.scale);
  });
  const spectrum = modules.map(({ path, in: inner, out, rank }, i) => {
    const { singularValues } = decompositions[i] as Decomposition;
    return { path, in: inner, out, rank, singularValues };
  });
  return { decompositions, spectrum };
}

/** The first components, their singular values put where the split wants them. */
function recombine(
  module: LoraModule,
  { singularValues, right, left }: Decomposition,
  rank: number,
  split: ResetRankJob['split'],
): Recombined {
  const kept = Math.min(rank, singularValues.length);
  const total = singularValues.length;
  const root = (i: number): number => (split === 'balanced' ? Math.sqrt(singularValues[i] as number) : 1);
  const newRight = new Float64Array(kept * module.rank);
  const newLeft = new Float64Array(module.rank * kept);
  for (let i = 0; i < kept; i++) {
    for (let r = 0; r < module.rank; r++) {
      newRight[i * module.rank + r] = (right[i * module.rank + r] as number) * root(i);
      newLeft[r * kept + i] = (left[r * total + i] as number) / root(i);
    }
  }
  return { module, kept, rank, right: newRight, left: newLeft };
}

/** A sorted LoRA at a smaller fixed rank keeps its first rows and columns as they are. */
function canCut({ file, modules }: Lora, { choice, split }: ResetRankJob): boolean {
  if (file.metadata[SORTED_KEY] !== `${SORTED} ${split}` || choice.kind !== 'fixed') return false;
  return modules.every((module) => module.scale === 1 && module.rank >= choice.rank);
}

async function cut(context: PipelineContext, job: ResetRankJob, lora: Lora): Promise<JobResult> {
  const rank = job.choice.kind === 'fixed' ? job.choice.rank : 0;
  const stages = prepare('cut', cutStages(lora.modules, rank, STORED_DTYPE[job.dtype]), true);
  return write(context, job, lora, lora.modules.map(() => rank), stages); // prettier-ignore
}

function write(
  context: PipelineContext,
  job: ResetRankJob,
  lora: Lora,
  ranks: readonly number[],
  stages: PreparedNetwork,
): Promise<JobResult> {
  const modules = lora.modules.map(({ path, in: inner, out }, i) => ({ path, in: inner, out, rank: ranks[i] as number }));
  return writeFactors(context, job, { modules, metadata: newMetadata(lora, ranks, job), stages });
}

/** What the file said of itself stays; what the new rank changes is set. */
function newMetadata({ file }: Lora, ranks: readonly number[], { split, choice }: ResetRankJob): Metadata {
  return {
    ...renewedMetadata(file.metadata, Math.max(...ranks)),
    'i2l.rank': JSON.stringify(choice),
    [SORTED_KEY]: `${SORTED} ${split}`,
  };
}

function notFinite(file: string, module: string): I2lError {
  return new I2lError('NOT_FINITE', `${file}: ${module}: it holds a value that is not a finite number; the file may be damaged.`, {
    file,
    module,
  });
}
