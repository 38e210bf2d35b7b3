/** An image of a set as its row is. */
export interface SetImageKept {
  readonly set_id: number;
  readonly hash: string;
  readonly position: number;
  readonly weight: number;
  readonly caption: string;
  readonly storage: string;
  readonly source: string;
  readonly source_bytes: number;
  readonly source_mtime_ms: number;
}

/** Far more than anyone takes back. */
const MOST = 20_000;

/** Images that were taken out of sets, for as long as this process lasts: who did that may want them back. */
export class TakenOut {
  readonly #rows = new Map<string, SetImageKept>();

  note(rows: readonly SetImageKept[]): void {
    for (const row of rows) {
      const key = keyOf(row.set_id, row.hash);
      // The latest come last.
      this.#rows.delete(key);
      this.#rows.set(key, row);
    }
    for (const key of [...this.#rows.keys()].slice(0, Math.max(0, this.#rows.size - MOST))) this.#rows.delete(key);
  }

  /** Those of a set that are known. */
  of(set: number, hashes: readonly string[]): SetImageKept[] {
    return hashes.map((hash) => this.#rows.get(keyOf(set, hash))).filter((row) => row !== undefined);
  }
}

function keyOf(set: number, hash: string): string {
  return `${set} ${hash}`;
}
