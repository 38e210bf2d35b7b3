import type { Job } from '../contract/job.ts';
import { catalogueEntry, modelsFor } from '../weights/catalogue.ts';
import type { ModelStore } from './model-store.ts';

/**
 * Finds the models of a job that doesn't say where they lie, so that the engine is told.
 * @throws I2lError MODEL_MISSING that names all that are not on this machine
 */
export async function findJobModels<J extends Job>(job: J, getStore: () => Promise<ModelStore>, signal?: AbortSignal): Promise<J> {
  const ids = neededBy(job);
  if (ids === undefined) return job;
  const store = await getStore();
  return { ...job, models: await store.locate(ids, { signal }) };
}

/** Catalogue ids; undefined for a job that needs no search. */
function neededBy(job: Job): string[] | undefined {
  if (job.kind === 'create' && job.models === undefined) {
    return modelsFor(job.target, job.experts.filter(({ strength }) => strength !== 0).map(({ name }) => name)); // prettier-ignore
  }
  // Encoders are the same for every target.
  if (job.kind === 'encode' && job.models === undefined) return modelsFor('qwen-image', job.experts).filter(isEncoder);
  return undefined;
}

function isEncoder(id: string): boolean {
  return !['i2l', 'lora'].includes(catalogueEntry(id).network);
}
