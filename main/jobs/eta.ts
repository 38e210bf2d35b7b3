/**
 * Time left, from what this machine was measured to do: in earlier runs by a table of rates, in this run by
 * a sliding window. Work is counted in units of the runner's choice (bytes, images, operations), of which
 * only their number matters; work of one kind should go at one speed.
 */
export interface WorkItem {
  /** Names the rate, so it says all that the speed depends on: 'cpu/dinov3'. */
  readonly kind: string;
  readonly done: number;
  readonly total: number;
  /** Units a second to assume where this machine has never done such work. */
  readonly guess?: number | undefined;
}

export interface Measured {
  readonly kind: string;
  readonly units: number;
  readonly seconds: number;
}

/** What an earlier measure or a guess weighs against this run's: as much as this share of the kind's work in the job. */
const PRIOR_SHARE = 0.02;
/** The sliding window, as a share of the job's whole time, and at least so many seconds. */
const WINDOW_SHARE = 0.06;
const WINDOW_SECONDS = 1;

interface Pace {
  /** Sums of this run that fade with time. */
  units: number;
  seconds: number;
  /** Sums of this run that don't. */
  allUnits: number;
  allSeconds: number;
  /** Where the last update left it. */
  done: number;
}

/** A step's first piece is its start, if it is so small a share of it. */
const START_SHARE = 0.02;

interface Advance {
  readonly pace: Pace;
  readonly units: number;
  /** As they were expected. */
  readonly seconds: number;
  readonly isStart: boolean;
}

export class EtaEstimator {
  readonly #rates: ReadonlyMap<string, number>;
  readonly #guesses = new Map<string, number>();
  readonly #paces = new Map<string, Pace>();
  #seconds: number | undefined;
  /** Time that no work has answered for yet. */
  #open = 0;

  /** @param rates units a second of each kind, from earlier runs */
  constructor(rates: ReadonlyMap<string, number>) {
    this.#rates = rates;
  }

  /**
   * @param work all of the job's work, always; what is done at the first call was done before this run
   * @param seconds by a clock that only goes forward
   * @returns seconds of work done and left at the present speed; undefined while a kind's speed is unknown
   */
  update(work: readonly WorkItem[], seconds: number): { readonly done: number; readonly left: number } | undefined {
    const passed = this.#seconds === undefined ? 0 : Math.max(0, seconds - this.#seconds);
    this.#seconds = seconds;
    this.#open += passed;
    for (const { kind, guess } of work) if (guess !== undefined) this.#guesses.set(kind, guess);
    this.#fade(work, passed);
    this.#share(work);
    return this.#sum(work);
  }

  /** What this run measured. */
  measured(): Measured[] {
    return [...this.#paces].map(([kind, { allUnits, allSeconds }]) => ({ kind, units: allUnits, seconds: allSeconds }));
  }

  #fade(work: readonly WorkItem[], passed: number): void {
    const { done, left } = this.#sum(work) ?? { done: 0, left: 0 };
    const keep = Math.exp(-passed / Math.max(WINDOW_SECONDS, WINDOW_SHARE * (done + left)));
    for (const pace of this.#paces.values()) {
      pace.units *= keep;
      pace.seconds *= keep;
    }
  }

  /** Gives the open time to the kinds that went on, in the proportion in which they were expected to take it. */
  #share(work: readonly WorkItem[]): void {
    const steps = work.map((item) => this.#advance(item)).filter(({ units }) => units > 0);
    const expected = steps.reduce((sum, { seconds }) => sum + seconds, 0);
    if (expected <= 0) return;
    for (const { pace, units, seconds, isStart } of steps) {
      const took = (this.#open * seconds) / expected;
      pace.units += units;
      pace.allUnits += units;
      // What it takes to start a step says nothing of how fast it goes.
      pace.seconds += isStart ? Math.min(took, seconds) : took;
      pace.allSeconds += took;
    }
    this.#open = 0;
  }

  #advance(item: WorkItem): Advance {
    const pace = this.#paces.get(item.kind) ?? { units: 0, seconds: 0, allUnits: 0, allSeconds: 0, done: item.done };
    this.#paces.set(item.kind, pace);
    const units = item.done - pace.done;
    pace.done = item.done;
    const each = this.#secondsPerUnit(item);
    const isStart = each !== undefined && pace.allUnits === 0 && units < START_SHARE * item.total;
    return { pace, units, seconds: units * (each ?? 1), isStart };
  }

  #sum(work: readonly WorkItem[]): { readonly done: number; readonly left: number } | undefined {
    let done = 0;
    let left = 0;
    for (const item of work) {
      const each = this.#secondsPerUnit(item);
      if (each === undefined) return undefined;
      done += each * item.done;
      left += each * Math.max(0, item.total - item.done);
    }
    return { done, left };
  }

  #secondsPerUnit(item: WorkItem): number | undefined {
    const pace = this.#paces.get(item.kind);
    const known = this.#rates.get(item.kind);
    const rate = known ?? item.guess;
    if (rate === undefined) return pace && pace.units > 0 ? pace.seconds / pace.units : undefined;
    const isNew = !pace || pace.allUnits === 0;
    if (known !== undefined && isNew) return this.#slowdown() / rate;
    const expected = known === undefined ? this.#guessedWrong() / rate : 1 / rate;
    if (isNew) return expected;
    // A kind's first piece is often one of another sort: alone it would say nothing of the rest.
    const prior = PRIOR_SHARE * item.total;
    return (prior * expected + pace.seconds) / (prior + pace.units);
  }

  /**
   * How much slower this run is than earlier ones, to be applied to kinds that it has not come to. The
   * cause may touch them (another program computes) or not (another disk): the root is in the middle.
   */
  #slowdown(): number {
    return Math.sqrt(this.#tookBy((kind) => this.#rates.get(kind)));
  }

  /** How much slower this machine is than the one that guesses were made of: as far as is known, at everything. */
  #guessedWrong(): number {
    return this.#tookBy((kind) => this.#guesses.get(kind));
  }

  /** What this run took of what these rates made expect; 1 before anything is known. */
  #tookBy(rateOf: (kind: string) => number | undefined): number {
    let expected = 0;
    let took = 0;
    for (const [kind, { allUnits, allSeconds }] of this.#paces) {
      const rate = rateOf(kind);
      if (rate === undefined) continue;
      expected += allUnits / rate;
      took += allSeconds;
    }
    return expected > 0 && took > 0 ? took / expected : 1;
  }
}

/** A rate that was measured in less time than this says little. */
const FULL_TRUST_SECONDS = 10;
const NEWEST_SHARE = 0.3;

/**
 * The table's new rate after a run: an exponential average over runs, of logarithms, so that one run at a
 * hundredth of the speed doesn't rule the next ten.
 */
export function averageRate(old: number | undefined, { units, seconds }: Measured): number | undefined {
  if (units <= 0 || seconds <= 0) return old;
  const rate = units / seconds;
  if (old === undefined) return rate;
  const share = NEWEST_SHARE * Math.min(1, seconds / FULL_TRUST_SECONDS);
  return Math.exp((1 - share) * Math.log(old) + share * Math.log(rate));
}
