import type { SpectrumView } from '../../../../main/contract/lora-work.ts';

/** What the plots draw, prepared once, so that a step of the slider is a look into a table. */

const STEPS = 65_535;

/** Kept shares of all modules at each row, as {@link SpectrumView} sends them. */
export function sharesOf({ shares }: Pick<SpectrumView, 'shares'>): Uint16Array {
  const bytes = Uint8Array.from(atob(shares), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => view.getUint16(2 * i, true));
}

/** 0 to 1. */
export function shareAt(shares: Uint16Array, modules: number, row: number, module: number): number {
  return (shares[row * modules + module] ?? 0) / STEPS;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** How many powers of ten the components' plot shows. */
const DECADES = 4;

/** Steps of bars on a logarithmic scale, as one closed path; what lies below the scale is a hair high. */
export function barsPath(components: readonly number[], { width, height }: Size): string {
  const step = width / Math.max(1, components.length);
  const gap = step > 4 ? 1 : 0;
  return components
    .map((value, i) => {
      const tall = value > 0 ? Math.max(0.01, 1 + Math.log10(value) / DECADES) : 0.01;
      const [x, y] = [(i * step).toFixed(2), (height * (1 - tall)).toFixed(2)];
      return `M${x} ${height}V${y}h${(step - gap).toFixed(2)}V${height}z`;
    })
    .join('');
}

/** Kept share over the rank, from rank 0 at the left edge on. */
export function keptPath(rows: SpectrumView['rows'], most: number, { width, height }: Size): string {
  const points = rows.map(({ rank, kept }) => `${((width * rank) / most).toFixed(2)} ${(height * (1 - kept)).toFixed(2)}`);
  return `M0 ${height}L${points.join('L')}`;
}

/** The last row whose rank is at most this. */
export function rowOf(rows: SpectrumView['rows'], rank: number): number {
  const above = rows.findIndex((row) => row.rank > rank);
  return above < 0 ? rows.length - 1 : Math.max(0, above - 1);
}
