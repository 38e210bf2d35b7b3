/** Two clocks: one that may be set back and is only shown, one that only goes forward and is subtracted. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Seconds since some moment. */
  seconds(): number;
}

export const systemClock: Clock = { now: () => Date.now(), seconds: () => performance.now() / 1000 };
