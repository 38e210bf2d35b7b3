import type { Migration } from '../migrate.ts';

/** Files of images that are in no set: what LoRAs were made of by a command. */
export const imageSources: Migration = {
  version: 4,
  up: (database) => database.exec(IMAGE_SOURCES),
};

const IMAGE_SOURCES = `
  CREATE TABLE image_sources (
    hash TEXT NOT NULL REFERENCES images (hash) ON DELETE CASCADE,
    source TEXT NOT NULL,                -- a file that it was taken from
    source_bytes INTEGER NOT NULL,       -- and what that file was when it had this content
    source_mtime_ms REAL NOT NULL,
    PRIMARY KEY (hash, source)
  ) STRICT, WITHOUT ROWID;
`;
