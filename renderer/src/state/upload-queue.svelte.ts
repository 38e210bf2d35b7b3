import { SvelteMap } from 'svelte/reactivity';
import type { FailedFile, ImportProgress } from '../../../main/contract/library-values.ts';
import type { SendOptions, Uploaded } from '../api/upload.ts';
import { untilStopped } from '../api/until-stopped.ts';
import type { Failure } from '../ui/failure.ts';

export interface UploadKind<Place> {
  /** How many files travel side by side. */
  readonly atOnce: number;
  /** Never throws. */
  readonly send: (file: File, place: Place, options: SendOptions) => Promise<Uploaded>;
  /** Shows what has arrived. */
  readonly refresh: () => Promise<void>;
  /**
   * Brings what has arrived at a place into order: files that travel side by side overtake each other. Never throws.
   * @param arrived answers to its files, in the order in which these were added
   */
  readonly arrange?: (place: Place, arrived: readonly Uploaded[]) => Promise<void>;
}

interface OnItsWay<Place> {
  readonly file: File;
  readonly place: Place;
  /** Where it stands among all that were added. */
  readonly number: number;
}

interface Failed {
  readonly file: string;
  readonly error: Failure;
}

/** What the app tells of files that it takes from where they are. */
type Import =
  | ImportProgress
  | {
      readonly type: 'done';
      readonly added: readonly unknown[];
      readonly duplicates: readonly unknown[];
      readonly failed: readonly FailedFile[];
    };

/** So many files arrive before what is shown is read again. */
const SHOWN_EVERY = 8;

/** Files of the page's on their way into the app, each to a place of its own. */
export class UploadQueue<Place> {
  done = $state(0);
  total = $state(0);
  added = $state(0);
  duplicates = $state(0);
  failed = $state.raw<readonly Failed[]>([]);
  readonly #kind: UploadKind<Place>;
  #bytes = $state(0);
  #bytesSent = $state(0);
  #stop = new AbortController();
  #waiting: OnItsWay<Place>[] = [];
  #running = 0;
  #numbered = 0;
  /** Answers to files that have arrived since nothing was on its way, by where they stand. */
  #arrived: { readonly place: Place; readonly number: number; readonly outcome: Uploaded }[] = [];
  /** How many files of each place are on their way or not yet in order. */
  readonly #held = new SvelteMap<Place, number>();

  constructor(kind: UploadKind<Place>) {
    this.#kind = kind;
  }

  get busy(): boolean {
    return this.done < this.total;
  }

  /** Whether more may come to a place, or what is there to another order. */
  isBusyFor(place: Place): boolean {
    return (this.#held.get(place) ?? 0) > 0;
  }

  /** 0 to 1: of the bytes, where they are known. */
  get fraction(): number {
    return this.#bytes > 0 ? this.#bytesSent / this.#bytes : this.done / Math.max(1, this.total);
  }

  add(files: readonly File[], place: Place): void {
    if (!this.busy) this.#begin();
    this.#waiting.push(...files.map((file, i) => ({ file, place, number: this.#numbered + i })));
    this.#numbered += files.length;
    this.#hold(place, files.length);
    this.total += files.length;
    this.#bytes += bytesOf(files);
    while (this.#running < this.#kind.atOnce && this.#waiting.length > 0) void this.#work();
  }

  /** Files that the app takes from where they are: nothing travels, but it takes its time. @throws I2lError */
  async follow(files: number, place: Place, take: (signal: AbortSignal) => Promise<AsyncIterable<Import>>): Promise<void> {
    if (!this.busy) this.#begin();
    this.total += files;
    const { signal } = this.#stop;
    let counted = 0;
    const count = (done: number): void => {
      this.done += done - counted;
      counted = done;
    };
    this.#hold(place, files);
    try {
      await untilStopped(signal, async () => {
        for await (const event of await take(signal)) {
          if (event.type === 'progress') count(event.done);
          else {
            this.added += event.added.length;
            this.duplicates += event.duplicates.length;
            this.failed = [...this.failed, ...event.failed];
          }
        }
      });
    } finally {
      count(files);
      await this.#kind.refresh();
      this.#hold(place, -files);
    }
  }

  /** What has arrived stays; what is added from now on is not stopped with the rest. */
  stop(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.total -= this.#waiting.length;
    this.#bytes -= bytesOf(this.#waiting.map(({ file }) => file));
    for (const { place } of this.#waiting) this.#hold(place, -1);
    this.#waiting = [];
  }

  /** What came of the last files was read. */
  clearOutcome(): void {
    this.failed = [];
    this.added = 0;
    this.duplicates = 0;
  }

  #begin(): void {
    this.done = 0;
    this.total = 0;
    this.#bytes = 0;
    this.#bytesSent = 0;
    this.clearOutcome();
  }

  async #work(): Promise<void> {
    this.#running++;
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      const outcome = await this.#send(next.file, next.place);
      this.#note(next.file, outcome);
      this.#arrived.push({ ...next, outcome });
      this.done++;
      if (this.done % SHOWN_EVERY === 0) void this.#kind.refresh();
    }
    this.#running--;
    if (this.#running === 0) await this.#settle();
  }

  async #settle(): Promise<void> {
    const arrived = this.#arrived.sort((a, b) => a.number - b.number);
    this.#arrived = [];
    for (const [place, own] of Map.groupBy(arrived, (one) => one.place)) {
      await this.#kind.arrange?.(place, own.map(({ outcome }) => outcome)); // prettier-ignore
      this.#hold(place, -own.length);
    }
    await this.#kind.refresh();
  }

  #hold(place: Place, files: number): void {
    const held = (this.#held.get(place) ?? 0) + files;
    if (held > 0) this.#held.set(place, held);
    else this.#held.delete(place);
  }

  async #send(file: File, place: Place): Promise<Uploaded> {
    let sent = 0;
    const onSent = (bytes: number): void => {
      // What is sent beside the file's bytes is not counted.
      this.#bytesSent += Math.min(bytes, file.size) - sent;
      sent = Math.min(bytes, file.size);
    };
    const outcome = await this.#kind.send(file, place, { signal: this.#stop.signal, onSent });
    onSent(file.size);
    return outcome;
  }

  #note({ name }: File, outcome: Uploaded): void {
    if ('error' in outcome) {
      if (outcome.error.code !== 'CANCELLED') this.failed = [...this.failed, { file: name, error: outcome.error }];
    } else if (outcome.duplicate) this.duplicates++;
    else this.added++;
  }
}

function bytesOf(files: readonly File[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
