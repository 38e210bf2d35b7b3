import type { Migration } from '../migrate.ts';

/**
 * What is long of a LoRA moves out of its row, so that a list reads no page for nothing; and the indexes hold all
 * that a list without filters asks: where a row is in the trash too.
 */
export const narrowLoras: Migration = {
  version: 3,
  up: (database) => database.exec(NARROW),
};

const SORTED = { name: 'sort_name', added: 'added_at', bytes: 'bytes', rank: 'rank_max', rating: 'rating' };

const INDEXES = Object.entries(SORTED).map(
  ([name, column]) => `DROP INDEX loras_by_${name}; CREATE INDEX loras_by_${name} ON loras (trashed_at, ${column}, id);`,
);

const NARROW = `
  CREATE TABLE lora_texts (
    lora_id INTEGER NOT NULL PRIMARY KEY REFERENCES loras (id) ON DELETE CASCADE,
    notes TEXT NOT NULL,
    made_from TEXT                       -- the set as it was then, JSON
  ) STRICT;
  INSERT INTO lora_texts (lora_id, notes, made_from) SELECT id, notes, made_from FROM loras;
  ALTER TABLE loras DROP COLUMN notes;
  ALTER TABLE loras DROP COLUMN made_from;
  ${INDEXES.join('\n  ')}
`;
