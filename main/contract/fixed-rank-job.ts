import type { ResetRankJob } from './job.ts';

type FixedRank = Pick<ResetRankJob, 'kind' | 'file' | 'choice' | 'split'>;

/**
 * A job for the best LoRA of one rank for all modules, as a LoRA is used: all singular values in B.
 * @param options what else a job of the kind 'reset-rank' has
 */
export function fixedRankJob<Options extends { readonly output: string }>(
  file: string,
  rank: number,
  options: Options,
): Options & FixedRank {
  return { ...options, kind: 'reset-rank', file, choice: { kind: 'fixed', rank }, split: 'b-heavy' };
}
