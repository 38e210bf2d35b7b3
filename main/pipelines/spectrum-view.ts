import type { SpectrumView } from '../contract/lora-work.ts';
import { RankTable } from '../lora/rank-table.ts';
import { chooseRanks, type Spectrum } from '../lora/spectrum.ts';
import { highestRank, TABLE_BYTES, tableRanks } from './spectrum-table.ts';

/** What a user most likely wants of a smaller LoRA. */
const SHARES = [0.999, 0.99, 0.95, 0.9];
const SIZES = [100e6, 50e6, 20e6];

/** Of the shares that are sent: small enough that no eye sees it in a plot. */
const STEPS = 65_535;

/** A LoRA's spectrum as a slider over its ranks shows it; every rank that a preset means is among the rows. */
export function spectrumView(spectrum: Spectrum): SpectrumView {
  const table = new RankTable(spectrum);
  const most = highestRank(spectrum);
  const presets = [
    ...SHARES.map((share) => energyPreset(spectrum, share, most)),
    ...SIZES.map((size) => sizePreset(table, size, most)),
  ];
  const ranks = [...new Set([...tableRanks(spectrum), ...presets.flatMap(({ rank }) => rank ?? [])])].sort((a, b) => a - b);
  const rows = ranks.map((rank) => {
    const { kept, worst, worstAt, bytes } = table.at(rank, TABLE_BYTES);
    return { rank, kept, worst: { module: worstAt, kept: worst.kept }, bytes };
  });
  return { rank: most, rows, presets, components: relative(table.components()), ...mapOf(spectrum, table), shares: sharesOf(spectrum, table, ranks) }; // prettier-ignore
}

type Preset = SpectrumView['presets'][number];

function energyPreset(spectrum: Spectrum, share: number, most: number): Preset {
  const [rank = most] = chooseRanks(spectrum, { kind: 'energy', share, perModule: false });
  return { kind: 'energy', share, rank: Math.min(rank, most) };
}

/** Bytes grow evenly with the rank. */
function sizePreset(table: RankTable, bytes: number, most: number): Preset {
  const fits = Math.floor(bytes / table.at(1, TABLE_BYTES).bytes);
  return { kind: 'bytes', bytes, rank: fits < 1 ? null : Math.min(fits, most) };
}

function relative(values: readonly number[]): number[] {
  const first = values[0] ?? 0;
  return values.map((value) => (first > 0 ? Number((value / first).toPrecision(5)) : 0));
}

function mapOf(spectrum: Spectrum, table: RankTable): Pick<SpectrumView, 'modules' | 'columns' | 'lines'> {
  const columns = new Index();
  const lines = new Index();
  const energies = table.energies();
  const modules = spectrum.map(({ path }, i) => {
    const { block, layer } = placeOf(path);
    return { path, column: columns.of(block), line: lines.of(layer), energy: energies[i] ?? 0 };
  });
  return { modules, columns: columns.names, lines: lines.names };
}

/** 'transformer_blocks.12.attn.to_q' is the layer attn.to_q of block 12; a module in no block is a place of its own. */
function placeOf(path: string): { readonly block: string; readonly layer: string } {
  const [, stack, block, layer] = /^(.+?)\.(\d+)\.(.+)$/.exec(path) ?? [];
  return stack !== undefined && block !== undefined && layer !== undefined
    ? { block: `${stack}.${block}`, layer }
    : { block: path, layer: path };
}

/** Names in the order in which they are first met. */
class Index {
  readonly names: string[] = [];
  readonly #places = new Map<string, number>();

  of(name: string): number {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    this.#places.set(name, this.names.length);
    return this.names.push(name) - 1;
  }
}

function sharesOf(spectrum: Spectrum, table: RankTable, ranks: readonly number[]): string {
  const bytes = Buffer.alloc(2 * ranks.length * spectrum.length);
  ranks.forEach((rank, row) => {
    spectrum.forEach((_, module) => {
      bytes.writeUInt16LE(Math.round(STEPS * table.share(module, rank)), 2 * (row * spectrum.length + module));
    });
  });
  return bytes.toString('base64');
}
