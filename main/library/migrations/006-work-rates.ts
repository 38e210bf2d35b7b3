import type { Migration } from '../migrate.ts';

/** What this machine was measured to do is counted in seconds of another machine now, no longer in bytes and operations. */
export const workRates: Migration = {
  version: 6,
  up: (database) => database.exec('DELETE FROM work_rates'),
};
