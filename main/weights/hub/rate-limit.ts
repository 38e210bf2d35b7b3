import { pause } from './backoff.ts';

/** Bytes that may pass in a second, over all connections: a bucket that fills steadily and holds a quarter of a second. */
export class RateLimit {
  readonly #bytesPerSecond: number;
  readonly #now: () => number;
  #free: number;
  #at: number;

  /** @param bytesPerSecond undefined: no limit */
  constructor(bytesPerSecond: number | undefined, now: () => number = () => performance.now()) {
    this.#bytesPerSecond = bytesPerSecond ?? Infinity;
    this.#now = now;
    this.#free = this.#most;
    this.#at = now();
  }

  get #most(): number {
    return this.#bytesPerSecond / 4;
  }

  /** Milliseconds to wait after these bytes. They are spent at once, so that others wait behind them. */
  spend(bytes: number): number {
    if (this.#bytesPerSecond === Infinity) return 0;
    const now = this.#now();
    this.#free = Math.min(this.#most, this.#free + ((now - this.#at) / 1000) * this.#bytesPerSecond);
    this.#at = now;
    this.#free -= bytes;
    return this.#free >= 0 ? 0 : (-this.#free / this.#bytesPerSecond) * 1000;
  }

  /** @throws I2lError CANCELLED */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    const wait = this.spend(bytes);
    if (wait > 0) await pause(wait, signal);
  }
}
