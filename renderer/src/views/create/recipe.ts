import { EXPERTS_OF, type ExpertName, type TargetId } from '../../../../main/contract/experts.ts';
import type { ExpertChoice } from '../../../../main/contract/job.ts';
import type { ExpertOption } from '../../../../main/contract/recipe.ts';

/** What the user has chosen on the Create screen, before it is a job. */
export interface Draft {
  /** Empty: the image set's. */
  readonly name: string;
  readonly target: TargetId;
  readonly experts: Readonly<Record<ExpertName, { readonly on: boolean; readonly strength: number }>>;
  readonly skipBad: boolean;
}

/** Those that are on and that the target has. */
export function expertsOf({ target, experts }: Pick<Draft, 'target' | 'experts'>): ExpertChoice[] {
  return EXPERTS_OF[target].filter((name) => experts[name].on).map((name) => ({ name, strength: experts[name].strength }));
}

export type Lack = 'arrivals' | 'restored' | 'sets' | 'images' | 'experts' | 'models';

/**
 * The first thing that is missing before LoRAs can be made.
 * @param counts images of each chosen set. @param options undefined while they are not known
 */
export function lackOf(draft: Draft, counts: readonly number[], options: readonly ExpertOption[] | undefined): Lack | undefined {
  if (counts.length === 0) return 'sets';
  if (counts.includes(0)) return 'images';
  const chosen = expertsOf(draft);
  if (!chosen.some(({ name, strength }) => name !== 'bias' && strength !== 0)) return 'experts';
  const isReady = (name: ExpertName): boolean => options?.find((option) => option.name === name)?.isReady ?? true;
  return chosen.every(({ name }) => isReady(name)) ? undefined : 'models';
}

/** Bytes that are to be downloaded before an expert can be used, as far as they are known. */
export function missingBytes({ missing }: ExpertOption): number {
  return missing.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
}
