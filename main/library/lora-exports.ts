import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileError } from '../contract/errors.ts';
import type { LoraExport } from '../contract/loras.ts';
import { fileState } from '../weights/file-state.ts';
import type { Database } from './database.ts';
import { mapLimited } from './limited.ts';
import { fromStored, toStored } from './places.ts';

interface ExportRow {
  readonly path: string;
  readonly kind: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly at: number;
}

const FILES_AT_ONCE = 8;

/** Where LoRAs went. */
export class LoraExports {
  readonly #database: Database;
  readonly #now: () => number;

  constructor(database: Database, now: () => number) {
    this.#database = database;
    this.#now = now;
  }

  /**
   * Notes an export; an older one of the same LoRA to the same path goes.
   * @param exported kind e.g. 'comfyui'; sha256 of the file at `path`
   * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE
   */
  add(loraId: number, { kind, path, sha256 }: { readonly kind: string; readonly path: string; readonly sha256: string }): void {
    const file = resolve(path);
    const { size, mtimeMs } = statOf(file);
    const stored = toStored(this.#database.folder, file);
    this.#database.write(() =>
      this.#database.run(ADD, { loraId, kind, path: stored, sha256, bytes: size, mtimeMs, at: this.#now() }),
    );
  }

  /** All of a LoRA, the latest first, each with whether it is still there as it was written. */
  async of(loraId: number): Promise<LoraExport[]> {
    const rows = this.#database.all<ExportRow>(LIST, [loraId]);
    return mapLimited(rows, FILES_AT_ONCE, async (row) => {
      const path = fromStored(this.#database.folder, row.path);
      const { state } = await fileState({ ...row, path });
      return { path, kind: row.kind, sha256: row.sha256, at: row.at, state };
    });
  }
}

function statOf(file: string): { size: number; mtimeMs: number } {
  try {
    return statSync(file);
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

const ADD = `
  INSERT INTO lora_exports (lora_id, kind, path, sha256, bytes, mtime_ms, at)
  VALUES (:loraId, :kind, :path, :sha256, :bytes, :mtimeMs, :at)
  ON CONFLICT (lora_id, path) DO UPDATE SET kind = excluded.kind, sha256 = excluded.sha256, bytes = excluded.bytes,
    mtime_ms = excluded.mtime_ms, at = excluded.at`;
const LIST = `
  SELECT path, kind, sha256, bytes, mtime_ms AS mtimeMs, at FROM lora_exports WHERE lora_id = ? ORDER BY id DESC`;
