import { Pace, readingOf, together, type Reached } from './pace.ts';

/**
 * Time left, from what this machine was measured to do: in earlier runs by a table of rates, in this run by
 * a sliding window. Work is counted in units of the runner's choice (bytes, images, operations), of which
 * only their number matters; work of one kind should go at one speed. Bytes that it needs come at a speed of their own,
 * which no table holds: they may lie on a disk today and in the system's memory tomorrow.
 */
export interface WorkItem {
  /** Names the rate, so it says all that the speed depends on: 'cpu/dinov3'. */
  readonly kind: string;
  readonly done: number;
  readonly total: number;
  /** Units a second to assume where this machine has never done such work. */
  readonly guess?: number | undefined;
  /** Absent where nothing is read. */
  readonly reading?: Reading | undefined;
}

/** Bytes that are read while work is computed. */
export interface Reading {
  readonly done: number;
  readonly total: number;
  /** Seconds in which nothing was computed because they had not come; absent where nobody can tell. */
  readonly waited?: number | undefined;
  /** Bytes a second at which they should come; absent where nothing is known against any speed. */
  readonly speed?: number | undefined;
}

export interface Measured {
  readonly kind: string;
  readonly units: number;
  readonly seconds: number;
}

/** What an earlier measure or a guess weighs against this run's: as much as this share of the kind's work in the job. */
const PRIOR_SHARE = 0.02;
/** The same of a speed of reading: disks and systems' caches are less even than cores. */
const READING_PRIOR_SHARE = 0.3;
/** What is said of kinds that the run has not come to weighs as much as what it learnt in this share of all its work. */
const UNSEEN_PRIOR_SHARE = 0.005;
/** The sliding window, as a share of the job's whole time, and at least so many seconds. */
const WINDOW_SHARE = 0.06;
const WINDOW_SECONDS = 1;

/** A step's first piece is its start, if it is so small a share of it. */
const START_SHARE = 0.02;

const NOT_BEGUN: Readonly<Pace> = new Pace({ units: 0, bytes: 0, waited: 0 });

interface Advance {
  readonly pace: Pace;
  readonly since: Reached;
  /** What it was expected to take: of computing, and of all that is not known to be waiting. */
  readonly computing: number;
  readonly open: number;
  readonly isStart: boolean;
}

export class EtaEstimator {
  readonly #rates: ReadonlyMap<string, number>;
  readonly #paces = new Map<string, Pace>();
  #work: readonly WorkItem[] = [];
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
    this.#work = work;
    this.#fade(passed);
    this.#share();
    return this.#sum();
  }

  /** What this run measured: of computing, since how bytes come is no property of the kind. */
  measured(): Measured[] {
    return [...this.#paces].map(([kind, { all }]) => ({ kind, units: all.units, seconds: all.seconds }));
  }

  #fade(passed: number): void {
    const { done, left } = this.#sum() ?? { done: 0, left: 0 };
    const keep = Math.exp(-passed / Math.max(WINDOW_SECONDS, WINDOW_SHARE * (done + left)));
    for (const pace of this.#paces.values()) pace.fade(keep);
  }

  /** Gives the open time to those who waited, and the rest to the kinds that went on, as they were expected to take it. */
  #share(): void {
    const steps = this.#work.map((item) => this.#advance(item)).filter(({ since }) => since.units > 0);
    const expected = steps.reduce((sum, { open }) => sum + open, 0);
    if (expected <= 0) return;
    const waited = steps.reduce((sum, { since }) => sum + since.waited, 0);
    const factor = Math.max(0, this.#open - waited) / expected;
    for (const { pace, since, computing, open, isStart } of steps) {
      // Where nobody can tell waiting from computing, both were as much slower than expected.
      const seconds = factor * computing;
      const done = { ...since, seconds, waited: since.waited + factor * (open - computing) };
      // What it takes to start a step says nothing of how fast it goes.
      pace.add(done, isStart ? Math.max(0, seconds - computing) : 0);
    }
    this.#open = 0;
  }

  #advance(item: WorkItem): Advance {
    const reached = { units: item.done, bytes: item.reading?.done ?? 0, waited: item.reading?.waited ?? 0 };
    const pace = this.#paces.get(item.kind) ?? new Pace(reached);
    this.#paces.set(item.kind, pace);
    const each = this.#secondsPerUnit(item);
    const perByte = this.#secondsPerByte(item);
    const since = pace.advance(reached);
    const isStart = each !== undefined && pace.all.units === 0 && since.units < START_SHARE * item.total;
    const computing = since.units * (each ?? 1);
    const open = item.reading && item.reading.waited === undefined ? together(computing, since.bytes * perByte) : computing;
    return { pace, since, computing, open, isStart };
  }

  #sum(): { readonly done: number; readonly left: number } | undefined {
    let done = 0;
    let left = 0;
    for (const item of this.#work) {
      const each = this.#secondsPerUnit(item);
      if (each === undefined) return undefined;
      const perByte = this.#secondsPerByte(item);
      const { done: read, total: bytes } = item.reading ?? { done: 0, total: 0 };
      done += together(each * item.done, perByte * read);
      left += together(each * Math.max(0, item.total - item.done), perByte * Math.max(0, bytes - read));
    }
    return { done, left };
  }

  #secondsPerUnit(item: WorkItem): number | undefined {
    const { all, lately } = this.#paces.get(item.kind) ?? NOT_BEGUN;
    const known = this.#rates.get(item.kind);
    const rate = known ?? item.guess;
    if (rate === undefined) return lately.units > 0 ? lately.seconds / lately.units : undefined;
    const isNew = all.units === 0;
    if (known !== undefined && isNew) return this.#slowdown() / rate;
    const expected = known === undefined ? this.#guessedWrong() / rate : 1 / rate;
    if (isNew) return expected;
    // A kind's first piece is often one of another sort: alone it would say nothing of the rest.
    return weighed(expected, PRIOR_SHARE * item.total, lately.seconds / lately.units, all.units);
  }

  #secondsPerByte({ kind, reading }: WorkItem): number {
    if (!reading || reading.total === 0) return 0;
    const { all, lately } = this.#paces.get(kind) ?? NOT_BEGUN;
    const expected = this.#shareOfReading(kind) / (reading.speed ?? Infinity);
    if (all.bytes === 0) return expected;
    return weighed(expected, READING_PRIOR_SHARE * reading.total, readingOf(lately) / lately.bytes, all.bytes);
  }

  /**
   * How much slower this run is than earlier ones, to be applied to kinds that it has not come to. The
   * cause may touch them (another program computes) or not (another disk): the root is in the middle.
   */
  #slowdown(): number {
    return Math.sqrt(this.#tookBy(({ kind }) => this.#rates.get(kind)));
  }

  /** How much slower this machine is than the one that guesses were made of: as far as is known, at everything. */
  #guessedWrong(): number {
    return this.#tookBy(({ guess }) => guess);
  }

  /**
   * What reading of other kinds took of what it should have, at most all: disks read ahead of whoever reads on, which may
   * hold for these bytes, too; what slowed those, a system that makes room for them for one, is soon over. Of reading that
   * should be hidden behind computing, little can be told.
   */
  #shareOfReading(than: string): number {
    let whole = 0;
    let expected = 0;
    let took = 0;
    for (const { kind, reading } of this.#work) {
      if (reading?.speed === undefined) continue;
      whole += reading.total / reading.speed;
      const { all } = this.#paces.get(kind) ?? NOT_BEGUN;
      if (all.bytes === 0 || kind === than) continue;
      const should = all.bytes / reading.speed;
      const shows = (should / together(all.seconds, should)) ** 2;
      expected += shows * should;
      took += shows * readingOf(all);
    }
    return Math.min(1, Math.sqrt(shrunk(took, expected, UNSEEN_PRIOR_SHARE * whole)));
  }

  /** What this run took of what these rates made expect; 1 before anything is known. */
  #tookBy(rateOf: (item: WorkItem) => number | undefined): number {
    let whole = 0;
    let expected = 0;
    let took = 0;
    for (const item of this.#work) {
      const rate = rateOf(item);
      if (rate === undefined) continue;
      whole += item.total / rate;
      const { all, startSeconds } = this.#paces.get(item.kind) ?? NOT_BEGUN;
      expected += all.units / rate;
      took += all.seconds - startSeconds;
    }
    return shrunk(took, expected, UNSEEN_PRIOR_SHARE * whole);
  }
}

/** @param weight of what was expected; @param seenWeight of what was seen */
function weighed(expected: number, weight: number, seen: number, seenWeight: number): number {
  return (expected * weight + seen * seenWeight) / (weight + seenWeight);
}

/** What something took of what was expected, the nearer to 1 the less it was. */
function shrunk(took: number, expected: number, prior: number): number {
  return prior + expected > 0 ? (prior + took) / (prior + expected) : 1;
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
