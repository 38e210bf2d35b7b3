import { SvelteMap } from 'svelte/reactivity';
import type { I2lError } from '../../../main/contract/errors.ts';
import { uploadImage } from '../api/upload.ts';
import { sets } from './sets.svelte.ts';

/** More would only wait for each other: each is decoded as it arrives. */
const AT_ONCE = 3;

interface Failed {
  readonly file: string;
  readonly error: I2lError;
}

/** Files on their way into image sets. */
class Uploads {
  done = $state(0);
  total = $state(0);
  duplicates = $state(0);
  failed = $state.raw<readonly Failed[]>([]);
  #stop = new AbortController();
  readonly #waiting = new SvelteMap<File, number>();
  #running = 0;

  get busy(): boolean {
    return this.done < this.total;
  }

  add(setId: number, files: readonly File[]): void {
    if (!this.busy) this.#begin();
    for (const file of files) this.#waiting.set(file, setId);
    this.total += files.length;
    while (this.#running < AT_ONCE && this.#waiting.size > 0) void this.#work();
  }

  /** What has arrived stays. */
  stop(): void {
    this.#stop.abort();
    this.total -= this.#waiting.size;
    this.#waiting.clear();
  }

  clearFailed(): void {
    this.failed = [];
    this.duplicates = 0;
  }

  #begin(): void {
    this.done = 0;
    this.total = 0;
    this.clearFailed();
    this.#stop = new AbortController();
  }

  async #work(): Promise<void> {
    this.#running++;
    for (let next = this.#take(); next; next = this.#take()) {
      const [file, setId] = next;
      const outcome = await uploadImage(setId, file, this.#stop.signal);
      this.done++;
      if ('error' in outcome) {
        if (outcome.error.code !== 'CANCELLED') this.failed = [...this.failed, { file: file.name, error: outcome.error }];
      } else if (outcome.duplicate) this.duplicates++;
      if (this.done % 8 === 0) void sets.refresh();
    }
    this.#running--;
    if (this.#running === 0) await sets.refresh();
  }

  #take(): [File, number] | undefined {
    const [next] = this.#waiting;
    if (next) this.#waiting.delete(next[0]);
    return next;
  }
}

export const uploads = new Uploads();
