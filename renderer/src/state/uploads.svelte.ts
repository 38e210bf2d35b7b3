import { SvelteMap } from 'svelte/reactivity';
import { api } from '../api/client.ts';
import { uploadImage } from '../api/upload.ts';
import type { Failure } from '../ui/failure.ts';
import { sets } from './sets.svelte.ts';

/** More would only wait for each other: each is decoded as it arrives. */
const AT_ONCE = 3;

interface Failed {
  readonly file: string;
  readonly error: Failure;
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

  /** Files that the user chose in the system's dialog: the app takes them from where they are. @throws I2lError */
  async addChosen(setId: number, files: readonly string[]): Promise<void> {
    if (!this.busy) this.#begin();
    this.total += files.length;
    const { signal } = this.#stop;
    let counted = 0;
    const count = (done: number): void => {
      this.done += done - counted;
      counted = done;
    };
    try {
      for await (const event of await api.sets.addImages({ id: setId, files: [...files] }, { signal })) {
        if (event.type === 'progress') count(event.done);
        else {
          this.duplicates += event.duplicates.length;
          this.failed = [...this.failed, ...event.failed];
        }
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      count(files.length);
      await sets.refresh();
    }
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
