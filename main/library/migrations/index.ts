import type { Migration } from '../migrate.ts';
import { setsAndLoras } from './001-sets-and-loras.ts';

/** In order, with no gap. */
export const MIGRATIONS: readonly Migration[] = [setsAndLoras];
