import type { QueueProgress } from '../contract/queue.ts';
import { EtaEstimator, type Measured } from './eta.ts';
import type { ProgressUpdate } from './runner.ts';

/** Seconds over which a speed is averaged. */
const SPEED_WINDOW = 3;

/** Completes what a run tells of itself: speed from bytes, time left and fraction from work. */
export class RunProgress {
  readonly #eta: EtaEstimator;
  #told: { readonly progress: QueueProgress; readonly seconds: number } | undefined;
  #last: { readonly seconds: number; readonly bytes: number } | undefined;
  #speed: number | undefined;

  constructor(rates: ReadonlyMap<string, number>) {
    this.#eta = new EtaEstimator(rates);
  }

  /** @param seconds by a clock that only goes forward */
  update({ work, ...told }: ProgressUpdate, seconds: number): QueueProgress {
    const time = work && this.#eta.update(work, seconds);
    const derived = {
      ...(time && { etaSeconds: time.left, fraction: shareOf(time.done, time.left) }),
      ...this.#speedOf(told.bytesDone, seconds),
    };
    const progress = { ...derived, ...told };
    this.#told = { progress, seconds };
    return progress;
  }

  /** The last update as it is by now: time goes by between two of them. */
  at(seconds: number): QueueProgress | undefined {
    if (!this.#told) return undefined;
    const { progress, seconds: then } = this.#told;
    const { etaSeconds, fraction } = progress;
    if (etaSeconds === undefined) return progress;
    const passed = Math.min(etaSeconds, Math.max(0, seconds - then));
    if (passed === 0) return progress;
    // At the speed at which the time left goes by.
    const share = fraction === undefined ? {} : { fraction: advanced(fraction, passed / etaSeconds) };
    return { ...progress, ...share, etaSeconds: etaSeconds - passed };
  }

  measured(): Measured[] {
    return this.#eta.measured();
  }

  #speedOf(bytes: number | undefined, seconds: number): { bytesPerSecond?: number } {
    if (bytes === undefined) return {};
    const passed = this.#last ? seconds - this.#last.seconds : 0;
    if (this.#last && passed > 0) {
      const now = Math.max(0, bytes - this.#last.bytes) / passed;
      const keep = this.#speed === undefined ? 0 : Math.exp(-passed / SPEED_WINDOW);
      this.#speed = keep * (this.#speed ?? 0) + (1 - keep) * now;
    }
    if (!this.#last || passed > 0) this.#last = { seconds, bytes };
    return this.#speed === undefined ? {} : { bytesPerSecond: this.#speed };
  }
}

/** A job that is held up is not done, however long it takes. */
const MOST_GUESSED = 0.99;

/** @param share of what is left, that should be done by now */
function advanced(fraction: number, share: number): number {
  return Math.max(fraction, Math.min(MOST_GUESSED, fraction + (1 - fraction) * share));
}

function shareOf(done: number, left: number): number {
  return done + left > 0 ? done / (done + left) : 1;
}
