import type { FailedFile, ImportProgress } from '../../../main/contract/library-values.ts';
import type { SendOptions, Uploaded } from '../api/upload.ts';
import type { Failure } from '../ui/failure.ts';

export interface UploadKind<Place> {
  /** How many files travel side by side. */
  readonly atOnce: number;
  /** Never throws. */
  readonly send: (file: File, place: Place, options: SendOptions) => Promise<Uploaded>;
  /** Shows what has arrived. */
  readonly refresh: () => Promise<void>;
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
  #waiting: { readonly file: File; readonly place: Place }[] = [];
  #running = 0;

  constructor(kind: UploadKind<Place>) {
    this.#kind = kind;
  }

  get busy(): boolean {
    return this.done < this.total;
  }

  /** 0 to 1: of the bytes, where they are known. */
  get fraction(): number {
    return this.#bytes > 0 ? this.#bytesSent / this.#bytes : this.done / Math.max(1, this.total);
  }

  add(files: readonly File[], place: Place): void {
    if (!this.busy) this.#begin();
    this.#waiting.push(...files.map((file) => ({ file, place })));
    this.total += files.length;
    this.#bytes += bytesOf(files);
    while (this.#running < this.#kind.atOnce && this.#waiting.length > 0) void this.#work();
  }

  /** Files that the app takes from where they are: nothing travels, but it takes its time. @throws I2lError */
  async follow(files: number, take: (signal: AbortSignal) => Promise<AsyncIterable<Import>>): Promise<void> {
    if (!this.busy) this.#begin();
    this.total += files;
    const { signal } = this.#stop;
    let counted = 0;
    const count = (done: number): void => {
      this.done += done - counted;
      counted = done;
    };
    try {
      for await (const event of await take(signal)) {
        if (event.type === 'progress') count(event.done);
        else {
          this.added += event.added.length;
          this.duplicates += event.duplicates.length;
          this.failed = [...this.failed, ...event.failed];
        }
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      count(files);
      await this.#kind.refresh();
    }
  }

  /** What has arrived stays; what is added from now on is not stopped with the rest. */
  stop(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.total -= this.#waiting.length;
    this.#bytes -= bytesOf(this.#waiting.map(({ file }) => file));
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
      this.#note(next.file, await this.#send(next.file, next.place));
      this.done++;
      if (this.done % SHOWN_EVERY === 0) void this.#kind.refresh();
    }
    this.#running--;
    if (this.#running === 0) await this.#kind.refresh();
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
