import type { EXPERTS, TARGETS } from '../../../main/contract/experts.ts';
import type { LORA_SORTS, LoraQuery } from '../../../main/contract/loras.ts';

export type LoraSort = (typeof LORA_SORTS)[number];

/** What is looked for, as the filters show it. */
export interface Filters {
  text: string;
  target: (typeof TARGETS)[number] | 'unknown' | '';
  expert: (typeof EXPERTS)[number] | '';
  tags: string[];
  /** Whether all of the tags are wanted, or one of them. */
  allTags: boolean;
  rankFrom: number | null;
  rankTo: number | null;
  favourite: boolean;
  ratingFrom: number;
  missing: boolean;
  /** LoRAs of random weights, as the demo's: left out, or looked for alone. */
  demo: '' | 'without' | 'only';
  trashed: boolean;
}

export const NO_FILTERS: Filters = {
  ...{ text: '', target: '', expert: '', tags: [], allTags: false, rankFrom: null, rankTo: null },
  ...{ favourite: false, ratingFrom: 0, missing: false, demo: '', trashed: false },
};

export function queryOf(filters: Filters, sort: LoraSort, order: 'ascending' | 'descending'): LoraQuery {
  const { text, target, expert, tags, allTags, rankFrom, rankTo, favourite, ratingFrom, missing, demo, trashed } = filters;
  return {
    text,
    ...(target && { target }),
    ...(expert && { expert }),
    ...(allTags ? { tagsAll: tags } : { tagsAny: tags }),
    ...(rankFrom !== null && { rankFrom: known(Math.ceil(rankFrom)) }),
    ...(rankTo !== null && { rankTo: known(Math.floor(rankTo)) }),
    ...(favourite && { favourite }),
    ...(ratingFrom > 0 && { ratingFrom }),
    ...(missing && { missing }),
    ...(demo && { synthetic: demo === 'only' }),
    ...{ trashed, sort, order },
  };
}

/** How many of the filters leave something out. */
export function countFilters(filters: Filters): number {
  const { text, target, expert, tags, rankFrom, rankTo, favourite, ratingFrom, missing, demo, trashed } = filters;
  const set = [text !== '', target !== '', expert !== '', tags.length > 0, rankFrom !== null, rankTo !== null];
  return [...set, favourite, ratingFrom > 0, missing, demo !== '', trashed].filter(Boolean).length;
}

/** A number that can be asked for, for one that was typed: no rank is negative, and none has seven digits. */
function known(rank: number): number {
  return Math.max(0, Math.min(1e6, rank));
}
