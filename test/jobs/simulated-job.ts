import { EtaEstimator, type WorkItem } from '../../main/jobs/eta.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';

/** A network of a job as it is planned. */
export interface PlannedNetwork {
  readonly kind: string;
  readonly groups: number;
  /** Expected of computing; and bytes that are read. */
  readonly seconds: number;
  readonly bytes: number;
}

/** How a machine really does it. */
export interface Truth {
  /** Times the seconds that were expected. */
  readonly slower: (kind: string) => number;
  /** Bytes a second; `share` is how far the network has come. */
  readonly reads: (kind: string, share: number) => number;
  /** What a few tries have shown of it. */
  readonly tried: (kind: string) => number;
  /** Nobody can tell waiting from computing: the runtime reads. */
  readonly isMapped?: boolean;
  readonly seed?: number;
}

/** What was told some seconds after the start, and what it should have been. */
export interface Told {
  readonly at: number;
  readonly left: number;
  readonly told: number;
}

/** A group of a network that was run: the job's seconds until it was done, and those that it waited. */
interface Ran {
  readonly network: PlannedNetwork;
  readonly at: number;
  readonly waited: number;
}

/** Runs networks group by group: the next one's bytes are read while this one computes. */
function run(networks: readonly PlannedNetwork[], { slower, reads, seed = 1 }: Truth): Ran[] {
  const next = mulberry32(seed);
  let now = 0;
  return networks.flatMap((network) => {
    const { kind, groups, seconds, bytes } = network;
    let started = now;
    return Array.from({ length: groups }, (_, i): Ran => {
      const read = (i === 0 ? now : started) + bytes / groups / reads(kind, i / groups);
      const waited = Math.max(0, read - now);
      started = now + waited;
      now = started + (seconds / groups) * slower(kind) * Math.exp(0.4 * (next() - 0.5));
      return { network, at: now, waited };
    });
  });
}

/** What the estimator tells of a first job of a machine, after each group. */
export function tellOf(networks: readonly PlannedNetwork[], truth: Truth, rates: ReadonlyMap<string, number> = new Map()): Told[] {
  const ran = run(networks, truth);
  const total = ran.at(-1)?.at ?? 0;
  const done = new Map(networks.map((network) => [network, { groups: 0, waited: 0 }]));
  const eta = new EtaEstimator(rates);
  const work = (): WorkItem[] =>
    [...done].map(([{ kind, seconds, bytes, groups }, { groups: ended, waited }]) => {
      const share = ended / groups;
      const reading = { done: share * bytes, total: bytes, speed: truth.tried(kind), ...(!truth.isMapped && { waited }) };
      return { kind, done: share * seconds, total: seconds, guess: 1, reading };
    });
  eta.update(work(), 0);
  return ran.map(({ network, at, waited }) => {
    const of = done.get(network) as { groups: number; waited: number };
    done.set(network, { groups: of.groups + 1, waited: of.waited + waited });
    return { at, left: total - at, told: eta.update(work(), at)?.left ?? Number.NaN };
  });
}

/** Errors between the first tenth and the last, as shares of the time left, the smallest first. */
export function errorsOf(told: readonly Told[]): number[] {
  const total = told.at(-1)?.at ?? 0;
  const judged = told.filter(({ at }) => at > 0.1 * total && at < 0.9 * total);
  return judged.map((one) => Math.abs(one.told - one.left) / Math.max(one.left, 0.05 * total)).sort((a, b) => a - b);
}

/** By how much the end that is told moves from one update to the next, at most, as a share of the whole time; from the first second on. */
export function largestJump(told: readonly Told[]): number {
  const total = told.at(-1)?.at ?? 0;
  const ends = told.filter(({ at }) => at >= 1).map(({ at, told: left }) => at + left);
  return Math.max(...ends.slice(1).map((end, i) => Math.abs(end - (ends[i] as number)))) / total;
}
