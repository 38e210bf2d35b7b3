import type { LoraQuery } from '../contract/loras.ts';
import { fold, matchExpression } from './text.ts';

/** A query as SQL: what is asked is bound, never written into the text. */
export interface LoraSql {
  /** From FROM to the end of WHERE. */
  readonly from: string;
  readonly orderBy: string;
  readonly bindings: Readonly<Record<string, string | number>>;
}

const COLUMNS = { name: 'sort_name', added: 'added_at', bytes: 'bytes', rank: 'rank_max', rating: 'rating' } as const;

interface Condition {
  readonly sql: string;
  readonly bindings: Readonly<Record<string, string | number>>;
}

/** @returns undefined if nothing can match: a text without a word in it */
export function loraSql(query: LoraQuery): LoraSql | undefined {
  const typed = (query.text ?? '').trim();
  const match = typed === '' ? undefined : matchExpression(typed);
  if (typed !== '' && match === undefined) return undefined;
  const { sort = 'added', order = 'descending' } = query;
  const byRelevance = sort === 'relevance' && match !== undefined;
  const conditions = conditionsOf(query);
  const search = match === undefined ? '' : byRelevance ? ' JOIN loras_search ON loras_search.rowid = id' : '';
  if (match !== undefined) {
    const sql = byRelevance
      ? 'loras_search MATCH :match'
      : 'id IN (SELECT rowid FROM loras_search WHERE loras_search MATCH :match)';
    conditions.push({ sql, bindings: { match } });
  }
  const direction = order === 'ascending' ? 'ASC' : 'DESC';
  const column = COLUMNS[sort === 'relevance' ? 'added' : sort];
  return {
    from: `FROM loras${search} WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}`,
    orderBy: byRelevance ? `ORDER BY bm25(${WEIGHTS}), id DESC` : `ORDER BY ${column} ${direction}, id ${direction}`,
    bindings: Object.assign({}, ...conditions.map(({ bindings }) => bindings)) as LoraSql['bindings'],
  };
}

/** Of name, tags, notes, captions, trigger words. */
const WEIGHTS = 'loras_search, 10, 5, 1, 1, 5';

function conditionsOf(query: LoraQuery): Condition[] {
  const { trashed = false, tagsAny = [], tagsAll = [] } = query;
  return [
    { sql: `trashed_at IS ${trashed ? 'NOT NULL' : 'NULL'}`, bindings: {} },
    ...compare('target = :target', 'target', query.target),
    ...compare(OF_EXPERT, 'expert', query.expert),
    ...compare('rank_max >= :rankFrom', 'rankFrom', query.rankFrom),
    ...compare('rank_max <= :rankTo', 'rankTo', query.rankTo),
    ...compare('added_at >= :addedFrom', 'addedFrom', query.addedFrom),
    ...compare('added_at <= :addedTo', 'addedTo', query.addedTo),
    ...compare('favourite = :favourite', 'favourite', numberOf(query.favourite)),
    ...compare('rating >= :ratingFrom', 'ratingFrom', query.ratingFrom),
    ...compare('missing = :missing', 'missing', numberOf(query.missing)),
    ...compare('synthetic = :synthetic', 'synthetic', numberOf(query.synthetic)),
    ...compare('set_id = :setId', 'setId', query.setId),
    ...(tagsAny.length === 0 ? [] : [{ sql: `id IN (${TAGGED} (SELECT value FROM json_each(:tagsAny)))`, bindings: { tagsAny: JSON.stringify(tagsAny.map(fold)) } }]), // prettier-ignore
    ...[...new Set(tagsAll.map(fold))].map((tag, i) => ({ sql: `id IN (${TAGGED} (:tag${i}))`, bindings: { [`tag${i}`]: tag } })),
  ];
}

const OF_EXPERT = 'id IN (SELECT lora_id FROM lora_experts WHERE role = :expert OR expert = :expert)';

const TAGGED = 'SELECT lora_id FROM lora_tags WHERE folded IN';

function compare(sql: string, name: string, value: string | number | undefined): Condition[] {
  return value === undefined ? [] : [{ sql, bindings: { [name]: value } }];
}

function numberOf(flag: boolean | undefined): number | undefined {
  return flag === undefined ? undefined : Number(flag);
}
