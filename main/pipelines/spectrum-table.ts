import { answerFor, chooseRanks, type RankAnswer, type Spectrum } from '../lora/spectrum.ts';

export type SpectrumRow = Omit<RankAnswer, 'rank'> & { readonly rank: number };

/** What each rank keeps and costs in bf16, from 1 to the LoRA's own; every one up to 16, then in steps. */
export function spectrumTable(spectrum: Spectrum): SpectrumRow[] {
  const most = Math.max(...spectrum.map(({ rank }) => rank));
  const ranks = Array.from({ length: most }, (_, i) => i + 1).filter((rank) => rank <= 16 || rank % 4 === 0 || rank === most);
  return ranks.map((rank) => ({ ...answerFor(spectrum, chooseRanks(spectrum, { kind: 'fixed', rank }), 2), rank }));
}
