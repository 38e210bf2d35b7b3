import type { RankAnswer, Spectrum } from './spectrum.ts';

/** What every rank of a LoRA keeps and costs, each number in one step: singular values are summed once. */
export class RankTable {
  readonly #spectrum: Spectrum;
  /** By module: the sum of the squares from each component on, small ones added first. */
  readonly #tails: readonly Float64Array[];

  constructor(spectrum: Spectrum) {
    this.#spectrum = spectrum;
    this.#tails = spectrum.map(({ singularValues }) => tailsOf(singularValues));
  }

  /** As answerFor, with all modules at this rank. @param bytesPerValue of the file's type */
  at(rank: number, bytesPerValue: number): RankAnswer & { readonly worstAt: number } {
    let [keptSquares, allSquares, bytes, worstAt, worstKept] = [0, 0, 0, 0, 1];
    this.#tails.forEach((tails, i) => {
      const all = tails[0] ?? 0;
      keptSquares += all - (tails[rank] ?? 0);
      allSquares += all;
      const module = this.#spectrum[i];
      if (module) bytes += rank * (module.in + module.out) * bytesPerValue;
      const kept = this.share(i, rank);
      if (kept < worstKept) [worstAt, worstKept] = [i, kept];
    });
    const kept = allSquares > 0 ? Math.sqrt(keptSquares / allSquares) : 1;
    const worst = { path: this.#spectrum[worstAt]?.path ?? '', kept: worstKept };
    return { kept, worst, worstAt, bytes, rank: { min: rank, max: rank } };
  }

  /** Share of a module's Frobenius norm that a rank keeps; 1 of a module that does nothing. */
  share(module: number, rank: number): number {
    const tails = this.#tails[module];
    const all = tails?.[0] ?? 0;
    return all > 0 ? Math.sqrt((all - (tails?.[rank] ?? 0)) / all) : 1;
  }

  /** Each module's share of all modules' squared norm. */
  energies(): number[] {
    const squares = this.#tails.map((tails) => tails[0] ?? 0);
    const all = squares.reduce((sum, one) => sum + one, 0);
    return squares.map((one) => (all > 0 ? one / all : 0));
  }

  /** The root of each component's squares over all modules, up to the longest module's. */
  components(): number[] {
    const length = Math.max(0, ...this.#tails.map((tails) => tails.length - 1));
    return Array.from({ length }, (_, i) =>
      Math.sqrt(this.#spectrum.reduce((sum, { singularValues }) => sum + (singularValues[i] ?? 0) ** 2, 0)),
    );
  }
}

function tailsOf(values: Float64Array): Float64Array {
  const tails = new Float64Array(values.length + 1);
  for (let i = values.length - 1; i >= 0; i--) tails[i] = (tails[i + 1] as number) + (values[i] as number) ** 2;
  return tails;
}
