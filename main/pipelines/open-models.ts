import { embeddingsFor } from '../contract/experts.ts';
import type { CreateJob } from '../contract/job.ts';
import { checkInputs } from './decode-lora.ts';
import { locateExperts, openDecoder, type OpenDecoder } from './open-decoder.ts';
import { openEncoders, type OpenEncoder } from './open-encoders.ts';

/** The models of a job's experts, opened and checked against each other. */
export function openModels({ models, target, experts }: Pick<CreateJob, 'models' | 'target' | 'experts'>): OpenModels {
  const used = experts.filter(({ strength }) => strength !== 0).map(({ name }) => name);
  const encoders = openEncoders(models, embeddingsFor(used));
  const decoder = openDecoder(locateExperts(models, target, experts));
  checkInputs(decoder, encoders.flatMap(({ outputs }) => outputs), 'the encoders'); // prettier-ignore
  return { encoders, decoder };
}

export interface OpenModels {
  readonly encoders: readonly OpenEncoder[];
  readonly decoder: OpenDecoder;
}
