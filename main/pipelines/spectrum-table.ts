import { RankTable } from '../lora/rank-table.ts';
import type { RankAnswer, Spectrum } from '../lora/spectrum.ts';

export type SpectrumRow = Omit<RankAnswer, 'rank'> & { readonly rank: number };

/** Bytes of a value in bf16. */
export const TABLE_BYTES = 2;

/** The ranks that are told of, from 1 to the LoRA's own: every one up to 16, then in steps. */
export function tableRanks(spectrum: Spectrum): number[] {
  const most = highestRank(spectrum);
  return Array.from({ length: most }, (_, i) => i + 1).filter((rank) => rank <= 16 || rank % 4 === 0 || rank === most);
}

export function highestRank(spectrum: Spectrum): number {
  return Math.max(1, ...spectrum.map(({ rank }) => rank));
}

/** What each rank keeps and costs in bf16. */
export function spectrumTable(spectrum: Spectrum): SpectrumRow[] {
  const table = new RankTable(spectrum);
  return tableRanks(spectrum).map((rank) => {
    const { kept, worst, bytes } = table.at(rank, TABLE_BYTES);
    return { kept, worst, bytes, rank };
  });
}
