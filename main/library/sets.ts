import type { ImageChange, ImageSet, Near, NewSet, SetChange, SetImage, SetQuery, SetSummary } from '../contract/sets.ts';
import { I2lError } from '../contract/errors.ts';
import { fileState } from '../weights/file-state.ts';
import { changed } from './change.ts';
import type { Database } from './database.ts';
import { mapLimited } from './limited.ts';
import { nearPairs } from './near.ts';
import { TakenOut, type SetImageKept } from './taken-out.ts';
import { imageOf, SET_COLUMNS, SET_IMAGES, summaryOf, type SetImageRow, type SetRow } from './set-rows.ts';
import { indexText, matchExpression, sortKey } from './text.ts';

/** How many files are looked at side by side. */
const FILES_AT_ONCE = 16;

const SORT_COLUMNS = {
  name: 'sort_name',
  created: 'created_at',
  updated: 'updated_at',
  images: '(SELECT count(*) FROM set_images WHERE set_id = sets.id)',
} as const;

/** Image sets in the library. How images come into them is in set-import.ts. */
export class Sets {
  readonly #database: Database;
  readonly #now: () => number;
  readonly #takenOut = new TakenOut();

  constructor(database: Database, now: () => number) {
    this.#database = database;
    this.#now = now;
  }

  list(query: SetQuery = {}): { total: number; sets: SetSummary[] } {
    const { text = '', target, trashed = false, sort = 'updated', order = 'descending', offset = 0, limit = 100 } = query;
    const typed = text.trim();
    const match = typed === '' ? undefined : matchExpression(typed);
    // Typed, and no word in it: nothing holds it.
    if (typed !== '' && match === undefined) return { total: 0, sets: [] };
    const where = [
      trashed ? 'trashed_at IS NOT NULL' : 'trashed_at IS NULL',
      target === undefined ? '' : 'target = :target',
      match === undefined ? '' : 'id IN (SELECT rowid FROM sets_search WHERE sets_search MATCH :match)',
    ].filter(Boolean);
    const from = `FROM sets WHERE ${where.join(' AND ')}`;
    const direction = order === 'ascending' ? 'ASC' : 'DESC';
    const named = { ...(target === undefined ? {} : { target }), ...(match === undefined ? {} : { match }) };
    return this.#database.snapshot(() => {
      const total = this.#database.get<{ total: number }>(`SELECT count(*) AS total ${from}`, named)?.total ?? 0;
      const page = `SELECT id ${from} ORDER BY ${SORT_COLUMNS[sort]} ${direction}, id ${direction} LIMIT :limit OFFSET :offset`;
      const ids = this.#database.all<{ id: number }>(page, { ...named, limit, offset });
      return { total, sets: ids.map(({ id }) => this.summary(id)) };
    });
  }

  has(id: number): boolean {
    return this.#database.get('SELECT 1 FROM sets WHERE id = ?', [id]) !== undefined;
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  summary(id: number): SetSummary {
    const row = this.#database.get<SetRow>(`SELECT ${SET_COLUMNS} FROM sets WHERE id = ?`, [id]);
    if (!row) throw new I2lError('NOT_IN_LIBRARY', `There is no image set number ${id}.`, { set: id });
    return summaryOf(this.#database.folder, row);
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  get(id: number): ImageSet {
    return this.#database.snapshot(() => ({ ...this.summary(id), images: this.#images(id).map((row) => this.#view(row)) }));
  }

  /** As get, with the state of each image's file. @throws I2lError NOT_IN_LIBRARY */
  async check(id: number): Promise<ImageSet> {
    const set = this.get(id);
    const known = new Map(this.#images(id).map((row) => [row.hash, row]));
    const touched: { hash: string; mtimeMs: number }[] = [];
    const images = await mapLimited(set.images, FILES_AT_ONCE, async (image): Promise<SetImage> => {
      const row = known.get(image.hash);
      const mtimeMs = image.storage === 'copied' ? undefined : row?.sourceMtimeMs;
      const now = await fileState({ path: image.file, bytes: image.bytes, mtimeMs, sha256: image.hash });
      if (mtimeMs !== undefined && now.mtimeMs !== undefined && now.mtimeMs !== mtimeMs && now.state === 'present') {
        touched.push({ hash: image.hash, mtimeMs: now.mtimeMs });
      }
      return { ...image, state: now.state };
    });
    if (touched.length > 0) {
      this.#database.write(() => {
        for (const one of touched) this.#database.run(TOUCH, { id, ...one });
      });
    }
    return { ...set, images };
  }

  create({ name, notes = '', target = null, storage = 'referenced' }: NewSet): SetSummary {
    return this.#database.write(() => {
      const { id } = this.#database.run(INSERT, { name, key: sortKey(name), notes, target, storage, now: this.#now() });
      this.reindex(id);
      return this.summary(id);
    });
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  update(id: number, change: SetChange): SetSummary {
    return this.#database.write(() => {
      const { name, notes, target, storage } = changed(this.summary(id), change);
      this.#database.run(UPDATE, { id, name, key: sortKey(name), notes, target, storage });
      return this.touched(id);
    });
  }

  /**
   * A set of its own with the same images, in their order and with their weights and captions. It mirrors no folder: of
   * two that did, each would undo what the other shows.
   * @throws I2lError NOT_IN_LIBRARY
   */
  copy(id: number, name: string): SetSummary {
    return this.#database.write(() => {
      const { notes, target, storage } = this.summary(id);
      const copy = this.create({ name, notes, target, storage });
      this.#database.run(COPY_IMAGES, { id, copy: copy.id });
      return this.touched(copy.id);
    });
  }

  /** Into the trash. @returns the ids of those that were not there already */
  remove(ids: readonly number[]): number[] {
    return this.#mark(ids, 'UPDATE sets SET trashed_at = :now WHERE id = :id AND trashed_at IS NULL');
  }

  /** Out of the trash. @returns the ids of those that were in it */
  undo(ids: readonly number[]): number[] {
    return this.#mark(ids, 'UPDATE sets SET trashed_at = NULL, updated_at = :now WHERE id = :id AND trashed_at IS NOT NULL');
  }

  /** Forgets what is in the trash; their images' files are kept. @returns how many */
  emptyTrash(): number {
    return this.#database.write(() => {
      const gone = this.#database.all<{ id: number }>('DELETE FROM sets WHERE trashed_at IS NOT NULL RETURNING id');
      for (const { id } of gone) this.#database.run('DELETE FROM sets_search WHERE rowid = ?', [id]);
      return gone.length;
    });
  }

  /**
   * The images named come first, in this order; the others follow as they were.
   * @throws I2lError NOT_IN_LIBRARY also for a hash that is not in the set
   */
  reorder(id: number, hashes: readonly string[]): ImageSet {
    return this.#database.write(() => {
      this.summary(id);
      const now = this.#images(id).map(({ hash }) => hash);
      const first = new Set(hashes);
      for (const hash of first) this.image(id, hash);
      const order = [...first, ...now.filter((hash) => !first.has(hash))];
      order.forEach((hash, position) => this.#database.run(PLACE, { id, hash, position }));
      this.touched(id);
      return this.get(id);
    });
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  setImage(id: number, hash: string, change: ImageChange): SetImage {
    return this.#database.write(() => {
      const { weight, caption } = changed(this.image(id, hash), change);
      this.#database.run(WEIGH, { id, hash, weight, caption });
      this.touched(id);
      return this.image(id, hash);
    });
  }

  /** The files stay where they are; see restoreImages. @throws I2lError NOT_IN_LIBRARY */
  removeImages(id: number, hashes: readonly string[]): SetSummary {
    return this.#database.write(() => {
      this.summary(id);
      this.#takenOut.note(hashes.flatMap((hash) => this.#database.all<SetImageKept>(TAKE_OUT, { id, hash })));
      return this.touched(id);
    });
  }

  /**
   * Puts back what this process has taken out of a set: as it was, at its place.
   * @returns hashes of those that are back. @throws I2lError NOT_IN_LIBRARY
   */
  restoreImages(id: number, hashes: readonly string[]): string[] {
    return this.#database.write(() => {
      this.summary(id);
      const back = this.#takenOut.of(id, hashes).filter((row) => this.#database.run(PUT_BACK, { ...row }).changes > 0);
      this.touched(id);
      return back.map(({ hash }) => hash);
    });
  }

  /** Pairs that look alike, the nearest first. @param distance bits of 64 that may differ. @throws I2lError NOT_IN_LIBRARY */
  duplicates(id: number, distance: number): Near[] {
    this.summary(id);
    return nearPairs(this.#images(id), distance);
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  image(id: number, hash: string): SetImage {
    const row = this.#images(id, hash)[0];
    if (!row) throw new I2lError('NOT_IN_LIBRARY', `Image set ${id} has no image ${hash}.`, { set: id, hash });
    return this.#view(row);
  }

  /** Within a write that changed a set: its time, and what is found of it. */
  touched(id: number): SetSummary {
    this.#database.run('UPDATE sets SET updated_at = :now WHERE id = :id', { id, now: this.#now() });
    this.reindex(id);
    return this.summary(id);
  }

  reindex(id: number): void {
    const { name, notes } = this.summary(id);
    const captions = this.#database.all<{ caption: string }>("SELECT caption FROM set_images WHERE set_id = ? AND caption <> ''", [id]); // prettier-ignore
    this.#database.run('INSERT OR REPLACE INTO sets_search (rowid, name, notes, captions) VALUES (:id, :name, :notes, :captions)', {
      id,
      name: indexText(name),
      notes: indexText(notes),
      captions: indexText(captions.map(({ caption }) => caption).join('\n')),
    });
  }

  #images(id: number, hash?: string): SetImageRow[] {
    if (hash === undefined) return this.#database.all<SetImageRow>(SET_IMAGES, { id });
    return this.#database.all<SetImageRow>(SET_IMAGES.replace(':id', ':id AND hash = :hash'), { id, hash });
  }

  #view(row: SetImageRow): SetImage {
    return imageOf(this.#database.folder, row);
  }

  #mark(ids: readonly number[], sql: string): number[] {
    const now = this.#now();
    return this.#database.write(() =>
      ids.filter((id) => this.#database.run(sql, sql.includes(':now') ? { id, now } : { id }).changes > 0),
    );
  }
}

const INSERT = `
  INSERT INTO sets (name, sort_name, notes, target, storage, created_at, updated_at)
  VALUES (:name, :key, :notes, :target, :storage, :now, :now)`;
const KEPT = 'set_id, hash, position, weight, caption, storage, source, source_bytes, source_mtime_ms';
const TAKE_OUT = `DELETE FROM set_images WHERE set_id = :id AND hash = :hash RETURNING ${KEPT}`;
/** Where the image has come back by another way, or is unknown by now, nothing is to be done. */
const PUT_BACK = `
  INSERT OR IGNORE INTO set_images (${KEPT})
  SELECT :set_id, :hash, :position, :weight, :caption, :storage, :source, :source_bytes, :source_mtime_ms
  FROM images WHERE hash = :hash`;
const COPY_IMAGES = `
  INSERT INTO set_images (${KEPT})
  SELECT :copy, hash, position, weight, caption, storage, source, source_bytes, source_mtime_ms FROM set_images WHERE set_id = :id`;
const UPDATE = `
  UPDATE sets SET name = :name, sort_name = :key, notes = :notes, target = :target, storage = :storage WHERE id = :id`;
const TOUCH = 'UPDATE set_images SET source_mtime_ms = :mtimeMs WHERE set_id = :id AND hash = :hash';
const PLACE = 'UPDATE set_images SET position = :position WHERE set_id = :id AND hash = :hash';
const WEIGH = 'UPDATE set_images SET weight = :weight, caption = :caption WHERE set_id = :id AND hash = :hash';
