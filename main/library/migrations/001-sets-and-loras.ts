import type { Migration } from '../migrate.ts';

/**
 * Times are milliseconds since 1970. Paths within the data folder are relative to it, with forward slashes, so that
 * the folder can be moved; others are absolute. Search indexes hold no text of their own: the rows are the truth.
 */
export const setsAndLoras: Migration = {
  version: 1,
  up: (database) => {
    database.exec(IMAGES);
    database.exec(SETS);
    database.exec(LORAS);
    database.exec(PARTS_OF_LORAS);
  },
};

const IMAGES = `
  CREATE TABLE images (
    hash TEXT NOT NULL PRIMARY KEY,      -- sha256 of the file, hex
    bytes INTEGER NOT NULL,
    width INTEGER NOT NULL,              -- upright
    height INTEGER NOT NULL,
    format TEXT NOT NULL,
    perceptual TEXT NOT NULL,            -- 64 bits, hex
    copy TEXT,                           -- its file under images/, if it was copied
    added_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

const SETS = `
  CREATE TABLE sets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    sort_name TEXT NOT NULL,
    notes TEXT NOT NULL,
    target TEXT,
    folder TEXT,                         -- that it mirrors
    storage TEXT NOT NULL CHECK (storage IN ('copied', 'referenced')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    trashed_at INTEGER
  ) STRICT;
  CREATE INDEX sets_by_name ON sets (sort_name, id);
  CREATE INDEX sets_by_update ON sets (updated_at, id);
  CREATE INDEX sets_by_folder ON sets (folder) WHERE folder IS NOT NULL;

  CREATE TABLE set_images (
    set_id INTEGER NOT NULL REFERENCES sets (id) ON DELETE CASCADE,
    hash TEXT NOT NULL REFERENCES images (hash),
    position INTEGER NOT NULL,
    weight REAL NOT NULL,
    caption TEXT NOT NULL,
    storage TEXT NOT NULL CHECK (storage IN ('copied', 'referenced')),
    source TEXT NOT NULL,                -- the file that it was taken from
    source_bytes INTEGER NOT NULL,       -- and what that file was when it last had this content
    source_mtime_ms REAL NOT NULL,
    PRIMARY KEY (set_id, hash)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX set_images_by_position ON set_images (set_id, position);
  CREATE INDEX set_images_by_hash ON set_images (hash);

  CREATE VIRTUAL TABLE sets_search USING fts5 (
    name, notes, captions,
    content = '', contentless_delete = 1, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2"
  );
`;

const LORAS = `
  CREATE TABLE loras (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    sort_name TEXT NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    mtime_ms REAL NOT NULL,              -- of the file when it last had this content
    sha256 TEXT NOT NULL,
    tensor_hash TEXT NOT NULL,
    target TEXT NOT NULL,
    rank_min INTEGER NOT NULL,
    rank_max INTEGER NOT NULL,
    dtype TEXT NOT NULL,
    key_form TEXT NOT NULL,
    modules INTEGER NOT NULL,
    warning TEXT NOT NULL,               -- what the file says against itself
    set_id INTEGER REFERENCES sets (id) ON DELETE SET NULL,
    made_from TEXT,                      -- the set as it was then, JSON
    image_count INTEGER NOT NULL,
    spectrum TEXT,
    rating INTEGER NOT NULL CHECK (rating BETWEEN 0 AND 5),
    favourite INTEGER NOT NULL CHECK (favourite IN (0, 1)),
    notes TEXT NOT NULL,
    trigger_words TEXT NOT NULL,         -- a list, JSON
    default_strength REAL NOT NULL,
    recipe TEXT NOT NULL,                -- equal for all versions of one recipe
    parent_id INTEGER REFERENCES loras (id) ON DELETE SET NULL,
    preview TEXT REFERENCES images (hash),
    made_at INTEGER,
    added_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    missing INTEGER NOT NULL CHECK (missing IN (0, 1)),
    trashed_at INTEGER,
    trashed_from TEXT,                   -- its path before
    moving_to TEXT,                      -- a move that has begun,
    moving_pid INTEGER                   -- and the process that does it
  ) STRICT;
  CREATE INDEX loras_by_name ON loras (sort_name, id) WHERE trashed_at IS NULL;
  CREATE INDEX loras_by_added ON loras (added_at, id) WHERE trashed_at IS NULL;
  CREATE INDEX loras_by_bytes ON loras (bytes, id) WHERE trashed_at IS NULL;
  CREATE INDEX loras_by_rank ON loras (rank_max, id) WHERE trashed_at IS NULL;
  CREATE INDEX loras_by_rating ON loras (rating, id) WHERE trashed_at IS NULL;
  CREATE INDEX loras_by_tensor_hash ON loras (tensor_hash);
  CREATE INDEX loras_by_recipe ON loras (recipe, id);
  CREATE INDEX loras_by_path ON loras (path);
  CREATE INDEX loras_by_set ON loras (set_id) WHERE set_id IS NOT NULL;
  CREATE INDEX loras_by_parent ON loras (parent_id) WHERE parent_id IS NOT NULL;
  CREATE INDEX loras_by_preview ON loras (preview) WHERE preview IS NOT NULL;
  CREATE INDEX loras_moving ON loras (id) WHERE moving_to IS NOT NULL;
`;

const PARTS_OF_LORAS = `
  CREATE TABLE lora_experts (
    lora_id INTEGER NOT NULL REFERENCES loras (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    expert TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    strength REAL NOT NULL,
    PRIMARY KEY (lora_id, position)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX lora_experts_by_expert ON lora_experts (expert, lora_id);

  CREATE TABLE lora_tags (
    lora_id INTEGER NOT NULL REFERENCES loras (id) ON DELETE CASCADE,
    folded TEXT NOT NULL,                -- by which tags are compared
    tag TEXT NOT NULL,                   -- as it was written
    PRIMARY KEY (lora_id, folded)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX lora_tags_by_tag ON lora_tags (folded, lora_id);

  CREATE TABLE lora_exports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lora_id INTEGER NOT NULL REFERENCES loras (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    mtime_ms REAL NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (lora_id, path)
  ) STRICT;

  CREATE VIRTUAL TABLE loras_search USING fts5 (
    name, tags, notes, captions, trigger_words,
    content = '', contentless_delete = 1, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2"
  );
`;
