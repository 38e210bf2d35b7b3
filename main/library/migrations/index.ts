import type { Migration } from '../migrate.ts';
import { setsAndLoras } from './001-sets-and-loras.ts';
import { jobs } from './002-jobs.ts';
import { narrowLoras } from './003-narrow-loras.ts';
import { imageSources } from './004-image-sources.ts';
import { loraProvenance } from './005-lora-provenance.ts';
import { workRates } from './006-work-rates.ts';
import { jobNotes } from './007-job-notes.ts';

/** In order, with no gap. */
export const MIGRATIONS: readonly Migration[] = [
  setsAndLoras,
  jobs,
  narrowLoras,
  imageSources,
  loraProvenance,
  workRates,
  jobNotes,
];
