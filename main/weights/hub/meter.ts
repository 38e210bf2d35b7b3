/** How fast bytes come: over the last seconds, so that a pause shows and one slow block doesn't. */
const WINDOW_MS = 5000;
const STEP_MS = 250;

export class Meter {
  readonly #now: () => number;
  /** Time and bytes so far, one for each step of the window. */
  #marks: { readonly at: number; readonly bytes: number }[];
  #bytes = 0;
  /** Bytes of blocks that are on their way, to be taken back if they fail. */
  #open = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#marks = [{ at: now(), bytes: 0 }];
  }

  /** All bytes that came. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of blocks that are not finished. */
  get open(): number {
    return this.#open;
  }

  came(bytes: number): void {
    this.#bytes += bytes;
    this.#open += bytes;
    const now = this.#now();
    const last = this.#marks.at(-1);
    if (last && now - last.at < STEP_MS) return;
    this.#marks.push({ at: now, bytes: this.#bytes });
    while (this.#marks.length > 2 && now - (this.#marks[1]?.at ?? now) > WINDOW_MS) this.#marks.shift();
  }

  /** Bytes of a block that is finished, or lost. */
  settled(bytes: number): void {
    this.#open -= bytes;
  }

  get bytesPerSecond(): number {
    const [first] = this.#marks;
    const seconds = (this.#now() - (first?.at ?? 0)) / 1000;
    return seconds > 0.05 ? (this.#bytes - (first?.bytes ?? 0)) / seconds : 0;
  }
}
