import { rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import { fixedRankJob } from '../contract/fixed-rank-job.ts';
import type { JobResult } from '../contract/engine.ts';
import { formatBytes } from '../contract/format-bytes.ts';
import { dataFolder } from '../data-folder.ts';
import { inspectLora, type LoraSummary } from '../pipelines/inspect-lora.ts';
import { keptSpectrum } from '../pipelines/spectrum-cache.ts';
import { readSpectrum } from '../pipelines/spectrum-file.ts';
import { spectrumTable } from '../pipelines/spectrum-table.ts';
import { loraPath, runAndReport, runEngineJob, type CommandContext, type CreateOptions, type EngineOptions } from './commands.ts';
import { counted, percent } from './report.ts';
import { parseInput } from './weighted-file.ts';
import { makeFolderSync } from '../weights/make-folder.ts';
import { temporaryPath } from '../weights/write-safetensors.ts';

/** The commands that work on LoRA files: rank, merge, inspect, diff. */

type LoraOptions = EngineOptions & Pick<CreateOptions, 'dtype' | 'keyForm'>;

export interface RankOptions extends LoraOptions {
  readonly spectrum?: boolean;
  readonly rank?: number;
  readonly energy?: number;
  readonly ratio?: number;
  readonly perModule?: boolean;
  readonly split: string;
  readonly output?: string;
}

export async function rank(context: CommandContext, file: string, options: RankOptions): Promise<void> {
  if (options.spectrum) return showSpectrum(context, file, options);
  if (options.output === undefined) throw badOption('output', 'rank needs -o OUT, or --spectrum to only look');
  await runAndReport(context, {
    ...jobOptions(options),
    kind: 'reset-rank',
    file: resolve(file),
    choice: choiceOf(options),
    split: options.split,
    output: separate(loraPath(options.output), [file]),
  });
}

function choiceOf({ rank: fixed, energy, ratio, perModule = false }: RankOptions): object {
  if (energy !== undefined && ratio !== undefined) throw badOption('energy', 'give --energy or --ratio, not both');
  const cap = fixed === undefined ? {} : { cap: fixed };
  if (energy !== undefined) return { kind: 'energy', share: energy, perModule, ...cap };
  if (ratio !== undefined) return { kind: 'ratio', ratio, perModule, ...cap };
  if (fixed === undefined) throw badOption('rank', 'give one of --rank, --energy and --ratio');
  return { kind: 'fixed', rank: fixed };
}

/** Singular values are computed once and kept by the hash of the tensors. */
async function showSpectrum(context: CommandContext, file: string, options: RankOptions): Promise<void> {
  const kept = keptSpectrum(file, join(dataFolder(), 'cache'));
  if (!kept.spectrum) {
    makeFolderSync(dirname(kept.path));
    await runEngineJob(context, { ...engineOptions(options), kind: 'spectrum', file: resolve(file), output: kept.path });
  }
  const spectrum = kept.spectrum ?? readSpectrum(kept.path);
  const rows = spectrumTable(spectrum);
  const lines = rows.map(
    (row) =>
      `${String(row.rank).padStart(5)}  ${percent(row.kept).padStart(9)}  ${percent(row.worst.kept).padStart(9)}  ${formatBytes(row.bytes).padStart(8)}  ${row.worst.path}`,
  );
  const words = [`${file}: ${spectrum.length} modules`, ' rank       kept      worst  in bf16  worst module', ...lines].join('\n');
  const modules = spectrum.map((module) => ({ ...module, singularValues: [...module.singularValues] }));
  context.report.result(words, { type: 'spectrum', file, ranks: rows, modules });
}

export interface MergeOptions extends LoraOptions {
  readonly output: string;
  readonly rank?: number;
}

export async function merge(context: CommandContext, inputs: readonly string[], options: MergeOptions): Promise<void> {
  const parsed = inputs.map(parseInput);
  const files = parsed.map(({ file }) => file);
  const output = separate(loraPath(options.output), files);
  const job = { ...jobOptions(options), kind: 'merge', inputs: parsed };
  if (options.rank === undefined) return runAndReport(context, { ...job, output });
  // A name by which it is found if this process dies: it has gigabytes.
  const whole = temporaryPath(output);
  try {
    await runEngineJob(context, { ...job, dtype: 'f32', output: whole });
    await runAndReport(context, fixedRankJob(whole, options.rank, { ...jobOptions(options), output }));
  } finally {
    rmSync(whole, { force: true });
  }
}

export function inspect({ report }: CommandContext, files: readonly string[]): void {
  for (const file of files) {
    const summary = inspectLora(file);
    report.result(summaryWords(summary), { type: 'lora', ...summary });
  }
}

function summaryWords(summary: LoraSummary): string {
  const { file, target, modules, rank: ranks, dtypes, bytes, keyForm, sha256, autoV2, autoV3, metadata } = summary;
  const rankText = ranks.min === ranks.max ? `${ranks.max}` : `${ranks.min} to ${ranks.max}`;
  const facts = [
    `target ${target}, ${modules} modules, rank ${rankText}, ${dtypes.join(' + ')}, ${formatBytes(bytes)}, ${keyForm} keys`,
    `sha256 ${sha256}, AutoV2 ${autoV2}, AutoV3 ${autoV3}`,
    ...Object.entries(metadata).map(([key, value]) => `${key}: ${value.length > 200 ? `${value.slice(0, 197)}...` : value}`),
  ];
  return [file, ...facts.map((fact) => `  ${fact}`)].join('\n');
}

export async function diff(context: CommandContext, a: string, b: string, options: EngineOptions): Promise<void> {
  const result = await runEngineJob(context, { ...engineOptions(options), kind: 'diff', a: resolve(a), b: resolve(b) });
  context.report.result(diffWords(result), { ...result, type: 'diff' });
}

function diffWords({ comparison = [] }: JobResult): string {
  const rows = comparison.map(({ module, relativeError, cosine, only }) => {
    if (only !== undefined) return `  only in the ${only === 'a' ? 'first' : 'second'}: ${module}`;
    return `  ${(relativeError?.toExponential(3) ?? 'none').padStart(10)}  ${(cosine?.toFixed(6) ?? 'none').padStart(9)}  ${module}`;
  });
  return ['  rel. error     cosine  module', ...rows, ...cosineWords(comparison)].join('\n');
}

/** Of hundreds of rows, what one looks for. */
function cosineWords(comparison: NonNullable<JobResult['comparison']>): string[] {
  const known = comparison.flatMap(({ module, cosine }) => (cosine === undefined ? [] : [{ module, cosine }]));
  const sorted = known.sort((a, b) => a.cosine - b.cosine);
  const [worst, median] = [sorted[0], sorted[sorted.length >> 1]];
  if (!worst || !median) return [];
  return [
    `Cosine of ${counted(known.length, 'module')}: median ${median.cosine.toFixed(6)}, worst ${worst.cosine.toFixed(6)} (${worst.module}).`,
  ];
}

function jobOptions({ dtype, keyForm, ...options }: LoraOptions): object {
  return { ...engineOptions(options), dtype, keyForm };
}

function engineOptions({ memory, device, threads }: EngineOptions): EngineOptions {
  return { memory, device, threads };
}

/** @throws I2lError OUTPUT_IS_INPUT: a LoRA that is read while it is written would be lost */
function separate(output: string, inputs: readonly string[]): string {
  if (!inputs.some((input) => resolve(input) === output)) return output;
  throw new I2lError('OUTPUT_IS_INPUT', `${output}: it is also an input; choose another name for the output.`, { file: output });
}

function badOption(option: string, message: string): I2lError {
  return new I2lError('BAD_ARGUMENT', `${message}.`, { option });
}
