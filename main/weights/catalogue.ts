import catalogue from '../../resources/catalogue.json' with { type: 'json' };

/** A published checkpoint. */
export interface CatalogueEntry {
  readonly id: string;
  readonly title: string;
  /** Id of the network that reads it; 'lora' for a static one. */
  readonly network: string;
  /** Repository on Hugging Face and ModelScope. */
  readonly hub: string;
  /** Path within the repository; for a sharded model, of its index. */
  readonly file: string;
  readonly fingerprint: string | null;
  readonly tensors: number | null;
  readonly parameters: number | null;
  readonly bytes: number | null;
}

export const CATALOGUE: readonly CatalogueEntry[] = catalogue.models;

export function catalogueEntry(id: string): CatalogueEntry {
  const entry = CATALOGUE.find((candidate) => candidate.id === id);
  if (!entry) throw new RangeError(`"${id}" is not in the catalogue`);
  return entry;
}
