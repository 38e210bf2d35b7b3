import { SvelteSet } from 'svelte/reactivity';
import { I2lError } from '../../../main/contract/errors.ts';
import type { LoraQuery, LoraView } from '../../../main/contract/loras.ts';
import { api } from '../api/client.ts';
import { countFilters, NO_FILTERS, queryOf, type Filters, type LoraSort } from './lora-filters.ts';
import { missingPages, PAGE, rowAt, withPage, type Pages } from './pages.ts';

/** LoRAs that a query finds, read page by page as they come into sight. */
class LoraList {
  filters = $state<Filters>(structuredClone(NO_FILTERS));
  sort = $state<LoraSort>('added');
  order = $state<'ascending' | 'descending'>('descending');
  layout = $state<'grid' | 'list'>('grid');
  total = $state<number | undefined>(undefined);
  error = $state.raw<I2lError | undefined>(undefined);
  tags = $state.raw<readonly { tag: string; count: number }[]>([]);
  readonly selected = new SvelteSet<number>();
  /** Of the row that the keyboard is at. */
  cursor = $state(0);
  /** Where a range of rows begins that Shift selects. */
  anchor = 0;
  /** Grows when LoRAs may have changed: what is shown of one is asked for again. */
  version = $state(0);
  #pages = $state.raw<Pages<LoraView>>(new Map());
  #turn = 0;
  /** Whether the latest search was for those in the trash. */
  #trashed = false;
  #seen = { from: 0, to: PAGE - 1 };
  readonly #underWay = new Set<string>();

  get query(): LoraQuery {
    return queryOf($state.snapshot(this.filters) as Filters, this.sort, this.order);
  }

  get filtered(): number {
    return countFilters(this.filters);
  }

  row(index: number): LoraView | undefined {
    return rowAt(this.#pages, index);
  }

  /** Of those that are known. */
  indexOf(id: number): number | undefined {
    for (const [page, { rows }] of this.#pages) {
      const at = rows.findIndex((row) => row.id === id);
      if (at >= 0) return page * PAGE + at;
    }
    return undefined;
  }

  clearFilters(): void {
    this.filters = structuredClone(NO_FILTERS);
  }

  /** Another question: rows of the old one go, but for those that are seen until new ones come. */
  async search(): Promise<void> {
    this.#seen = { from: 0, to: PAGE - 1 };
    this.cursor = 0;
    this.anchor = 0;
    const { trashed } = this.filters;
    // What can be done with LoRAs in the trash is another thing.
    if (trashed !== this.#trashed) this.selected.clear();
    this.#trashed = trashed;
    await this.refresh();
  }

  /** The same question again: something has changed. */
  async refresh(): Promise<void> {
    this.#turn++;
    this.version++;
    void this.#readTags();
    await this.show(this.#seen.from, this.#seen.to);
  }

  /** Reads what is not known of the rows in sight. */
  async show(from: number, to: number): Promise<void> {
    this.#seen = { from, to };
    await Promise.all(missingPages(this.#pages, this.#turn, from, to).map((page) => this.#read(page, this.#turn)));
  }

  /** The ids of rows from one to another, however far apart. */
  async idsOf(from: number, to: number): Promise<number[]> {
    const ids: number[] = [];
    for (let offset = from; offset <= to; offset += MOST_AT_ONCE) {
      const limit = Math.min(MOST_AT_ONCE, to - offset + 1);
      const { loras } = await api.loras.list({ ...this.query, offset, limit });
      ids.push(...loras.map(({ id }) => id));
    }
    return ids;
  }

  async #read(page: number, turn: number): Promise<void> {
    const key = `${turn} ${page}`;
    if (this.#underWay.has(key)) return;
    this.#underWay.add(key);
    try {
      const { total, loras } = await api.loras.list({ ...this.query, offset: page * PAGE, limit: PAGE });
      if (turn !== this.#turn) return;
      this.total = total;
      this.error = undefined;
      const isFirst = ![...this.#pages.values()].some((known) => known.turn === turn);
      // What is left of an older turn lies elsewhere now.
      this.#pages = withPage(isFirst ? this.#nearPages() : this.#pages, page, { rows: loras, turn });
    } catch (thrown) {
      if (turn === this.#turn) this.error = I2lError.from(thrown);
    } finally {
      this.#underWay.delete(key);
    }
  }

  #nearPages(): Pages<LoraView> {
    const [first, last] = [Math.floor(this.#seen.from / PAGE), Math.floor(this.#seen.to / PAGE)];
    return new Map([...this.#pages].filter(([page]) => page >= first && page <= last));
  }

  async #readTags(): Promise<void> {
    try {
      this.tags = (await api.loras.tags({})).tags;
    } catch {
      // The list of LoRAs, asked for at the same time, says what is wrong.
    }
  }
}

const MOST_AT_ONCE = 500;

export const library = new LoraList();
