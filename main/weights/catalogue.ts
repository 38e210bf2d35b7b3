import catalogue from '../../resources/catalogue.json' with { type: 'json' };
import type { HubName } from '../contract/models.ts';
import { I2lError } from '../contract/errors.ts';

/** A published checkpoint. */
export interface CatalogueEntry {
  readonly id: string;
  readonly title: string;
  /** Id of the network that reads it; 'lora' for a static one. */
  readonly network: string;
  /** Its repository on each hub. */
  readonly hubs: Readonly<Record<HubName, string>>;
  /** What is opened, as a path within the repository; for a sharded model, its index. */
  readonly file: string;
  /** The other files that it needs, as paths within the repository. */
  readonly parts: readonly string[];
  readonly licence: Licence;
  readonly fingerprint: string | null;
  readonly tensors: number | null;
  readonly parameters: number | null;
  readonly bytes: number | null;
}

export interface Licence {
  readonly id: string;
  readonly title: string;
  readonly url: string;
  /** Whoever downloads has to agree to it first. */
  readonly mustAccept: boolean;
}

/** What an expert is made of, and so what a user needs who asks for it. */
export interface ExpertNeeds {
  readonly target: string;
  readonly expert: string;
  /** Catalogue ids. */
  readonly needs: readonly string[];
}

export const CATALOGUE: readonly CatalogueEntry[] = catalogue.models.map(({ licence, ...model }) => ({
  ...model,
  licence: { id: licence, ...catalogue.licences[licence as keyof typeof catalogue.licences] },
}));

export const EXPERT_NEEDS: readonly ExpertNeeds[] = catalogue.experts;

export function catalogueEntry(id: string): CatalogueEntry {
  const entry = CATALOGUE.find((candidate) => candidate.id === id);
  if (!entry) throw new RangeError(`"${id}" is not in the catalogue`);
  return entry;
}

/** Entries by id, each once. @throws I2lError BAD_ARGUMENT for one that isn't in the catalogue */
export function modelsById(ids: readonly [string]): [CatalogueEntry];
export function modelsById(ids: readonly string[]): CatalogueEntry[];
export function modelsById(ids: readonly string[]): CatalogueEntry[] {
  return [...new Set(ids)].map((id) => CATALOGUE.find((entry) => entry.id === id) ?? refuse(id));
}

function refuse(name: string): never {
  throw unknownName(name);
}

/** The models that these experts of a target need, each once. */
export function modelsFor(target: string, experts: readonly string[]): string[] {
  const rows = EXPERT_NEEDS.filter((row) => row.target === target && experts.includes(row.expert));
  return [...new Set(rows.flatMap(({ needs }) => needs))];
}

/** Experts that need a model, as TARGET/EXPERT. */
export function neededBy(id: string): string[] {
  return EXPERT_NEEDS.filter(({ needs }) => needs.includes(id)).map(({ target, expert }) => `${target}/${expert}`);
}

/**
 * The models that a user means by names: a catalogue id, TARGET/EXPERT, or an expert of `target`.
 * @throws I2lError BAD_ARGUMENT with the names that there are
 */
export function modelsNamed(names: readonly string[], target: string): CatalogueEntry[] {
  const ids = names.flatMap((name) => {
    if (CATALOGUE.some(({ id }) => id === name)) return [name];
    const expert = EXPERT_NEEDS.find((row) => `${row.target}/${row.expert}` === (name.includes('/') ? name : `${target}/${name}`));
    if (expert) return expert.needs;
    throw unknownName(name);
  });
  return [...new Set(ids)].map(catalogueEntry);
}

function unknownName(name: string): I2lError {
  const known = [...EXPERT_NEEDS.map((row) => `${row.target}/${row.expert}`), ...CATALOGUE.map(({ id }) => id)];
  return new I2lError('BAD_ARGUMENT', `"${name}" is neither an expert nor a model; there are ${known.join(', ')}.`, {
    name,
    known,
  });
}
