import type { RankChoice } from '../contract/job.ts';

/**
 * What a rank keeps and costs, answered from the singular values alone: no tensor is touched, so a slider
 * can ask at every frame.
 */
export interface ModuleSpectrum {
  readonly path: string;
  readonly in: number;
  readonly out: number;
  /** Of the LoRA; singular values past dW's own rank are not listed. */
  readonly rank: number;
  /** Of dW, falling. */
  readonly singularValues: Float64Array;
}

export type Spectrum = readonly ModuleSpectrum[];

/** A rank for every module, in the spectrum's order; at least 1, since a LoRA's file has no empty module. */
export function chooseRanks(spectrum: Spectrum, choice: RankChoice): number[] {
  if (choice.kind === 'fixed') return spectrum.map(() => choice.rank);
  const cap = choice.cap ?? Infinity;
  const own = spectrum.map(({ singularValues }) =>
    choice.kind === 'energy' ? rankForShare([singularValues], choice.share) : rankForRatio(singularValues, choice.ratio),
  );
  if (choice.perModule) return own.map((rank) => Math.max(1, Math.min(rank, cap)));
  const uniform =
    choice.kind === 'energy' ? rankForShare(spectrum.map(({ singularValues }) => singularValues), choice.share) : Math.max(...own); // prettier-ignore
  return spectrum.map(() => Math.max(1, Math.min(uniform, cap)));
}

/** The smallest rank at which these modules together keep a share of their Frobenius norm. */
function rankForShare(modules: readonly Float64Array[], share: number): number {
  const wanted = share ** 2 * sum(modules.map((values) => squares(values, 0)));
  const most = Math.max(0, ...modules.map((values) => values.length));
  // From the end, so that small values are added before large ones and a share of 1 keeps them all.
  let lost = 0;
  const total = sum(modules.map((values) => squares(values, 0)));
  let rank = most;
  while (rank > 0) {
    const next = lost + sum(modules.map((values) => (values[rank - 1] ?? 0) ** 2));
    if (total - next < wanted || (next > 0 && share === 1)) break;
    lost = next;
    rank--;
  }
  return rank;
}

function rankForRatio(values: Float64Array, ratio: number): number {
  const least = (values[0] ?? 0) / ratio;
  return values.filter((value) => value >= least && value > 0).length;
}

export interface RankAnswer {
  /** Share of the whole LoRA's Frobenius norm that is kept, 0 to 1. */
  readonly kept: number;
  readonly worst: { readonly path: string; readonly kept: number };
  /** Bytes of the tensors. */
  readonly bytes: number;
  readonly rank: { readonly min: number; readonly max: number };
}

/** @param ranks one for each module; @param bytesPerValue of the file's type */
export function answerFor(spectrum: Spectrum, ranks: readonly number[], bytesPerValue: number): RankAnswer {
  let keptSquares = 0;
  let allSquares = 0;
  let bytes = 0;
  let worst = { path: spectrum[0]?.path ?? '', kept: 1 };
  spectrum.forEach((module, i) => {
    const rank = ranks[i] ?? 0;
    const lost = squares(module.singularValues, rank);
    const all = squares(module.singularValues, 0);
    keptSquares += all - lost;
    allSquares += all;
    bytes += rank * (module.in + module.out) * bytesPerValue;
    const kept = all > 0 ? Math.sqrt((all - lost) / all) : 1;
    if (kept < worst.kept) worst = { path: module.path, kept };
  });
  const kept = allSquares > 0 ? Math.sqrt(keptSquares / allSquares) : 1;
  return { kept, worst, bytes, rank: { min: Math.min(...ranks), max: Math.max(...ranks) } };
}

/** Sum of the squares from an index on. */
function squares(values: Float64Array, from: number): number {
  let total = 0;
  for (let i = values.length - 1; i >= from; i--) total += (values[i] as number) ** 2;
  return total;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
