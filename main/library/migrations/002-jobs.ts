import type { Migration } from '../migrate.ts';

/** The queue: see main/jobs/store.ts for what the columns mean. JSON is text. */
export const jobs: Migration = {
  version: 2,
  up: (database) => database.exec(JOBS),
};

const JOBS = `
  CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    lane TEXT NOT NULL,
    title TEXT NOT NULL,
    input TEXT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    position INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    progress TEXT,
    error TEXT,
    result TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    run_seconds REAL NOT NULL
  ) STRICT;
  CREATE INDEX jobs_waiting ON jobs (lane, priority DESC, position, id) WHERE state = 'waiting';
  CREATE INDEX jobs_crashed ON jobs (crashes) WHERE state = 'waiting' AND crashes > 0;
  CREATE INDEX jobs_by_state ON jobs (state, id);
  CREATE INDEX jobs_by_position ON jobs (position);

  CREATE TABLE job_steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (job_id, key)
  ) STRICT;

  CREATE TABLE job_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    text TEXT NOT NULL
  ) STRICT;
  CREATE INDEX job_log_by_job ON job_log (job_id, id);

  CREATE TABLE queue (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    paused INTEGER NOT NULL CHECK (paused IN (0, 1))
  ) STRICT;
  INSERT INTO queue VALUES (1, 0);

  CREATE TABLE work_rates (
    kind TEXT NOT NULL PRIMARY KEY,
    units_per_second REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
`;
