import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import type { LoraBulkChange, LoraChange, LoraDetail, LoraFacts, LoraQuery, LoraView, MadeFrom } from '../contract/loras.ts';
import { fileState } from '../weights/file-state.ts';
import { changed } from './change.ts';
import type { Database } from './database.ts';
import type { Images } from './images.ts';
import { toldByFile } from './lora-metadata.ts';
import { loraSql } from './lora-query.ts';
import { detailOf, LORA_COLUMNS, viewOf, type LoraRow } from './lora-rows.ts';
import { fromStored, toStored } from './places.ts';
import { fold, indexText, sortKey } from './text.ts';

/** What is known of a new LoRA beyond its file. */
export interface NewLora {
  /** The file's name if not given. */
  readonly name?: string | undefined;
  readonly setId?: number | undefined;
  /** What the file's metadata says if not given. */
  readonly madeFrom?: MadeFrom | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly notes?: string | undefined;
  /** The LoRA that it was made of; it is a version of the same recipe. */
  readonly parentId?: number | undefined;
  readonly preview?: string | undefined;
  /** A file with its singular values. */
  readonly spectrum?: string | undefined;
  readonly madeAt?: number | undefined;
}

/** LoRAs in the library: what is known of them. Their files are moved by lora-files.ts. */
export class Loras {
  readonly #database: Database;
  readonly #images: Images;
  readonly #now: () => number;

  constructor(database: Database, images: Images, now: () => number) {
    this.#database = database;
    this.#images = images;
    this.#now = now;
  }

  /**
   * Makes a row of a LoRA file. A file that is in the library already stays the row that it was, with what the
   * user wrote; its content is told anew if it changed.
   * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE
   */
  add(facts: LoraFacts, more: NewLora = {}): LoraView {
    const file = resolve(facts.file);
    const mtimeMs = modifiedAt(file);
    const told = toldByFile(facts);
    const madeFrom = more.madeFrom ?? told.madeFrom;
    return this.#database.write(() => {
      const path = toStored(this.#database.folder, file);
      const there = this.#database.get<{ id: number }>('SELECT id FROM loras WHERE path = ? AND trashed_at IS NULL', [path]);
      const parent = more.parentId === undefined ? undefined : this.row(more.parentId);
      const content = {
        ...{ path, bytes: facts.bytes, mtimeMs, sha256: facts.sha256, tensorHash: facts.tensorHash, target: facts.target },
        ...{ rankMin: facts.rank.min, rankMax: facts.rank.max, dtype: facts.dtypes.join(' + '), keyForm: facts.keyForm },
        ...{
          modules: facts.modules,
          warning: told.warning,
          synthetic: Number(told.synthetic),
          setId: more.setId ?? null,
          parentId: parent?.id ?? null,
        },
        imageCount: madeFrom?.images.length ?? 0,
        spectrum: more.spectrum === undefined ? null : toStored(this.#database.folder, resolve(more.spectrum)),
        recipe: parent?.recipe ?? told.recipe ?? facts.tensorHash,
        madeAt: more.madeAt ?? null,
        now: this.#now(),
      };
      const id = there ? this.#renew(there.id, content) : this.#insert(content, file, more, told.triggerWords, madeFrom);
      this.#database.run(TELL_ORIGIN, { id, notes: more.notes ?? '', madeFrom: madeFrom && JSON.stringify(madeFrom) });
      this.#database.run('DELETE FROM lora_experts WHERE lora_id = ?', [id]);
      told.experts.forEach((expert, position) => this.#database.run(ADD_EXPERT, { id, position, ...expert }));
      if (!there) this.#tag(id, more.tags ?? []);
      this.#reindex(id);
      return this.view(id);
    });
  }

  list(query: LoraQuery = {}): { total: number; loras: LoraView[] } {
    const sql = loraSql(query);
    if (!sql) return { total: 0, loras: [] };
    const { offset = 0, limit = 100 } = query;
    const { from, orderBy, bindings } = sql;
    return this.#database.snapshot(() => {
      const total = this.#database.get<{ total: number }>(`SELECT count(*) AS total ${from}`, bindings)?.total ?? 0;
      const page = `SELECT loras.id AS id ${from} ${orderBy} LIMIT :limit OFFSET :offset`;
      const ids = this.#database.all<{ id: number }>(page, { ...bindings, limit, offset });
      return { total, loras: ids.map(({ id }) => this.view(id)) };
    });
  }

  has(id: number): boolean {
    return this.#database.get('SELECT 1 FROM loras WHERE id = ?', [id]) !== undefined;
  }

  /** Whether a file is a LoRA of the library, and not in the trash. */
  hasFile(file: string): boolean {
    const path = toStored(this.#database.folder, resolve(file));
    return this.#database.get('SELECT 1 FROM loras WHERE path = ? AND trashed_at IS NULL', [path]) !== undefined;
  }

  /** Whether a row has its file at this path, or is about to. */
  isTaken(file: string): boolean {
    const path = toStored(this.#database.folder, resolve(file));
    return this.#database.get('SELECT 1 FROM loras WHERE path = ? OR moving_to = ?', [path, path]) !== undefined;
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  view(id: number): LoraView {
    return viewOf(this.#database.folder, this.row(id));
  }

  /** With the state of its file; whether it is missing is noted. @throws I2lError NOT_IN_LIBRARY */
  async get(id: number): Promise<LoraDetail> {
    const row = this.row(id);
    const now = await fileState({ ...row, path: fromStored(this.#database.folder, row.path) });
    this.noteFile(row, now);
    const made = this.#madeFrom(id);
    const madeFrom = made && { ...made, images: made.images.map((image) => ({ ...image, isKnown: this.#images.has(image.hash) })) };
    return detailOf(this.#database.folder, row, { state: now.state, madeFrom });
  }

  /** @throws I2lError NOT_IN_LIBRARY, also for a preview that is no image of the library */
  update(id: number, change: Omit<LoraChange, 'name'> & { readonly name?: string | undefined }): LoraView {
    return this.#database.write(() => {
      const next = changed(this.view(id), change);
      this.#checkPreview(next.preview);
      this.#database.run(UPDATE, {
        ...{ id, name: next.name, key: sortKey(next.name), rating: next.rating, preview: next.preview },
        ...{ favourite: Number(next.favourite), strength: next.defaultStrength, words: JSON.stringify(next.triggerWords) },
        now: this.#now(),
      });
      this.#database.run('UPDATE lora_texts SET notes = ? WHERE lora_id = ?', [next.notes, id]);
      if (change.tags !== undefined) {
        this.#database.run('DELETE FROM lora_tags WHERE lora_id = ?', [id]);
        this.#tag(id, change.tags);
      }
      this.#reindex(id);
      return this.view(id);
    });
  }

  /** The same change for many; ids that are not in the library are left out. @returns those that are */
  bulk(ids: readonly number[], { tag = [], untag = [], rating, favourite }: LoraBulkChange): number[] {
    return this.#database.write(() => {
      const there = ids.filter((id) => this.#database.get('SELECT 1 FROM loras WHERE id = ?', [id]) !== undefined);
      for (const id of there) {
        for (const one of untag) this.#database.run('DELETE FROM lora_tags WHERE lora_id = ? AND folded = ?', [id, fold(one)]);
        this.#tag(id, tag);
        this.update(id, { rating, favourite });
      }
      return there;
    });
  }

  /** Groups of LoRAs with the same tensors. */
  duplicates(): number[][] {
    const rows = this.#database.all<{ ids: string }>(DUPLICATES);
    return rows.map(({ ids }) => (JSON.parse(ids) as number[]).sort((a, b) => a - b));
  }

  /** The id of a LoRA with these tensors that is not in the trash. */
  withTensors(tensorHash: string): number | undefined {
    const sql = 'SELECT id FROM loras WHERE tensor_hash = ? AND trashed_at IS NULL ORDER BY id LIMIT 1';
    return this.#database.get<{ id: number }>(sql, [tensorHash])?.id;
  }

  /** All of the same recipe that are not in the trash, the oldest first. @throws I2lError NOT_IN_LIBRARY */
  versions(id: number): LoraView[] {
    const sql = 'SELECT id FROM loras WHERE recipe = ? AND trashed_at IS NULL ORDER BY id';
    return this.#database.all<{ id: number }>(sql, [this.row(id).recipe]).map((row) => this.view(row.id));
  }

  /** Tags in use, with how many LoRAs have them. */
  tags(): { tag: string; count: number }[] {
    return this.#database.all<{ tag: string; count: number }>(TAGS);
  }

  /** @throws I2lError NOT_IN_LIBRARY */
  row(id: number): LoraRow {
    const row = this.#database.get<LoraRow>(`SELECT ${LORA_COLUMNS} FROM loras WHERE id = ?`, [id]);
    if (!row) throw new I2lError('NOT_IN_LIBRARY', `There is no LoRA number ${id} in the library.`, { lora: id });
    return row;
  }

  /** Keeps what was seen of a file: that it is gone or back, and its time if the same content was written again. */
  noteFile(row: LoraRow, { state, mtimeMs }: Awaited<ReturnType<typeof fileState>>): void {
    const missing = Number(state === 'missing');
    const time = state === 'present' && mtimeMs !== undefined ? mtimeMs : row.mtimeMs;
    if (missing === row.missing && time === row.mtimeMs) return;
    this.#database.write(() =>
      this.#database.run('UPDATE loras SET missing = ?, mtime_ms = ? WHERE id = ?', [missing, time, row.id]),
    );
  }

  /** What is not said to be its preview is the first image that it was made of and that the library has. */
  #insert(content: Content, file: string, more: NewLora, triggerWords: readonly string[], madeFrom: MadeFrom | null): number {
    const name = more.name ?? basename(file).replace(/\.safetensors$/i, '');
    const first = madeFrom?.images.find(({ hash }) => this.#images.has(hash));
    const preview = more.preview ?? first?.hash ?? null;
    this.#checkPreview(preview);
    const words = JSON.stringify(triggerWords);
    return this.#database.run(INSERT, { ...content, name, key: sortKey(name), words, preview }).id;
  }

  #renew(id: number, content: Content): number {
    this.#database.run(RENEW, { id, ...content });
    return id;
  }

  #tag(id: number, tags: readonly string[]): void {
    for (const tag of tags) this.#database.run(ADD_TAG, { id, folded: fold(tag), tag });
  }

  #madeFrom(id: number): MadeFrom | null {
    const sql = 'SELECT made_from AS json FROM lora_texts WHERE lora_id = ?';
    const { json } = this.#database.get<{ json: string | null }>(sql, [id]) ?? { json: null };
    return json === null ? null : (JSON.parse(json) as MadeFrom);
  }

  #checkPreview(hash: string | null): void {
    if (hash === null || this.#images.has(hash)) return;
    throw new I2lError('NOT_IN_LIBRARY', `${hash}: the library has no such image.`, { hash });
  }

  #reindex(id: number): void {
    const { name, tags, notes, triggerWords } = this.row(id);
    const captions = this.#madeFrom(id)?.images.map(({ caption }) => caption) ?? [];
    this.#database.run(INDEX, {
      ...{ id, name: indexText(name), notes: indexText(notes), captions: indexText(captions.join('\n')) },
      tags: indexText((JSON.parse(tags) as string[]).join('\n')),
      words: indexText((JSON.parse(triggerWords) as string[]).join('\n')),
    });
  }
}

type Content = Readonly<Record<string, string | number | null>>;

function modifiedAt(file: string): number {
  try {
    return statSync(file).mtimeMs;
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

const INSERT = `
  INSERT INTO loras (name, sort_name, path, bytes, mtime_ms, sha256, tensor_hash, target, rank_min, rank_max, dtype, key_form,
    modules, warning, synthetic, set_id, image_count, spectrum, rating, favourite, trigger_words, default_strength,
    recipe, parent_id, preview, made_at, added_at, updated_at, missing)
  VALUES (:name, :key, :path, :bytes, :mtimeMs, :sha256, :tensorHash, :target, :rankMin, :rankMax, :dtype, :keyForm,
    :modules, :warning, :synthetic, :setId, :imageCount, :spectrum, 0, 0, :words, 1,
    :recipe, :parentId, :preview, :madeAt, :now, :now, 0)`;
const RENEW = `
  UPDATE loras SET bytes = :bytes, mtime_ms = :mtimeMs, sha256 = :sha256, tensor_hash = :tensorHash, target = :target,
    rank_min = :rankMin, rank_max = :rankMax, dtype = :dtype, key_form = :keyForm, modules = :modules, warning = :warning,
    synthetic = :synthetic,
    set_id = coalesce(:setId, set_id), image_count = :imageCount, spectrum = :spectrum,
    recipe = :recipe, parent_id = :parentId, made_at = coalesce(:madeAt, made_at), updated_at = :now, missing = 0
  WHERE id = :id AND path = :path`;
const UPDATE = `
  UPDATE loras SET name = :name, sort_name = :key, rating = :rating, favourite = :favourite,
    trigger_words = :words, default_strength = :strength, preview = :preview, updated_at = :now WHERE id = :id`;
/** Notes are the user's: those of a LoRA that is there already stay. */
const TELL_ORIGIN = `
  INSERT INTO lora_texts (lora_id, notes, made_from) VALUES (:id, :notes, :madeFrom)
  ON CONFLICT (lora_id) DO UPDATE SET made_from = excluded.made_from`;
const ADD_EXPERT = `
  INSERT INTO lora_experts (lora_id, position, expert, role, fingerprint, strength)
  VALUES (:id, :position, :expert, :role, :fingerprint, :strength)`;
const ADD_TAG = 'INSERT INTO lora_tags (lora_id, folded, tag) VALUES (:id, :folded, :tag) ON CONFLICT DO NOTHING';
const INDEX = `
  INSERT OR REPLACE INTO loras_search (rowid, name, tags, notes, captions, trigger_words)
  VALUES (:id, :name, :tags, :notes, :captions, :words)`;
const DUPLICATES = `
  SELECT json_group_array(id) AS ids FROM loras WHERE trashed_at IS NULL
  GROUP BY tensor_hash HAVING count(*) > 1 ORDER BY min(id)`;
const TAGS = `
  SELECT min(tag) AS tag, count(*) AS count FROM lora_tags JOIN loras ON loras.id = lora_id
  WHERE trashed_at IS NULL GROUP BY folded ORDER BY folded`;
