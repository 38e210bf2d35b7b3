import type { Migration } from '../migrate.ts';

/** What a line of a log is made of (JSON), so that it can be said in any language; older lines have their text alone. */
export const jobNotes: Migration = {
  version: 7,
  up: (database) => database.exec('ALTER TABLE job_log ADD COLUMN note TEXT'),
};
