/** What was done of one kind of work, and what it took. */
export interface Amounts {
  /** Units of work, and seconds of computing them. */
  units: number;
  seconds: number;
  /** Bytes that were read for them, and seconds in which nothing was computed because they had not come. */
  bytes: number;
  waited: number;
}

/** How far a kind of work had come at some moment. */
export type Reached = Omit<Amounts, 'seconds'>;

const none = (): Amounts => ({ units: 0, seconds: 0, bytes: 0, waited: 0 });

/** How a kind of work goes in this run. */
export class Pace {
  /** Sums of this run that fade with time: a sliding window without edges. */
  readonly lately = none();
  /** Sums of this run that don't. */
  readonly all = none();
  /** Of them, seconds that say nothing of how it goes on. */
  startSeconds = 0;
  /** Where the last update left it. */
  #reached: Reached;

  constructor(reached: Reached) {
    this.#reached = reached;
  }

  /** @returns what was done since the last time */
  advance(reached: Reached): Reached {
    const before = this.#reached;
    this.#reached = reached;
    const since = (of: keyof Reached): number => Math.max(0, reached[of] - before[of]);
    return { units: reached.units - before.units, bytes: since('bytes'), waited: since('waited') };
  }

  /** @param start what of its seconds says nothing of how it goes on */
  add(done: Readonly<Amounts>, start = 0): void {
    for (const key of ['units', 'seconds', 'bytes', 'waited'] as const) {
      this.all[key] += done[key];
      this.lately[key] += done[key];
    }
    this.lately.seconds -= start;
    this.startSeconds += start;
  }

  fade(keep: number): void {
    for (const key of ['units', 'seconds', 'bytes', 'waited'] as const) this.lately[key] *= keep;
  }
}

/**
 * What work takes whose bytes are read while it is computed: the longer of both if both went evenly, and more the nearer
 * they are to each other, since neither does. Reading also takes of the cores.
 */
export function together(computing: number, reading: number): number {
  return Math.hypot(computing, reading);
}

/** What reading took of work that was computed in so many seconds and waited for so many more: {@link together}, turned around. */
export function readingOf({ seconds, waited }: Pick<Amounts, 'seconds' | 'waited'>): number {
  return Math.sqrt(waited * (waited + 2 * seconds));
}
