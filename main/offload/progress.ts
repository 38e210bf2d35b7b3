import type { JobProgress, StepReading } from '../contract/engine.ts';
import type { NetworkPlan, StageGroup } from './planner.ts';
import type { ReadAhead } from './trace.ts';

/** Where a job stands, over all its networks. */
export interface Progress {
  readonly network: string;
  readonly stage: string;
  readonly stageIndex: number;
  readonly stageCount: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly bytesPerSecond: number;
  readonly etaSeconds: number;
  /** In expected seconds. */
  readonly work: JobProgress['work'];
}

/** What a group of a plan is expected to take; only the proportions matter once a job runs. */
export interface ExpectedGroup {
  /** See {@link groupSeconds}. */
  readonly seconds: number;
  /** Its weights are in memory since an earlier job. */
  readonly isKept: boolean;
}

/** A network's plan, and what each of its groups is expected to take. */
export interface ExpectedWork {
  readonly plan: NetworkPlan;
  readonly groups: readonly ExpectedGroup[];
  /** Bytes a second at which its weights came where it was tried; see {@link readSpeedOf}. */
  readonly readSpeed?: number | undefined;
}

interface Amounts {
  stages: number;
  bytes: number;
  seconds: number;
}

/** Where speeds were tried weighs as much as this share of all bytes. */
const FASTER_PRIOR_SHARE = 0.02;

/** A group that was planned: its stages, and what is counted when they are done. */
interface PlannedGroup extends Readonly<Amounts> {
  readonly step: Step;
  readonly first: number;
}

/** All plans of one network. */
interface Step {
  readonly name: string;
  readonly done: Amounts;
  readonly total: Amounts;
  waited: number;
  /** The runtime itself reads mapped weights: nobody can tell it from computing. */
  readonly tellsWaits: boolean;
  readonly readSpeed: number | undefined;
}

/** Turns finished groups into progress; the time left follows from the speed so far. */
export class ProgressMeter {
  readonly #planned: ReadonlyMap<NetworkPlan, readonly PlannedGroup[]>;
  readonly #total: Amounts = { stages: 0, bytes: 0, seconds: 0 };
  readonly #done: Amounts = { stages: 0, bytes: 0, seconds: 0 };
  readonly #steps = new Map<string, Step>();
  readonly #readAhead: () => ReadAhead;
  readonly #started = performance.now();

  /** @param readAhead what has been read so far */
  constructor(works: readonly ExpectedWork[], readAhead: () => ReadAhead) {
    this.#readAhead = readAhead;
    this.#planned = new Map(works.map((work) => [work.plan, this.#plannedGroups(work)]));
    for (const group of [...this.#planned.values()].flat()) {
      add(this.#total, group);
      add(group.step.total, group);
    }
  }

  /** Before anything is done: whoever measures speeds takes the time from here. */
  begin({ network }: NetworkPlan): Progress {
    return this.#progress(network, '');
  }

  /** All of its images turned out to be of no use. */
  skip(plan: NetworkPlan): void {
    for (const group of plan.groups) this.#count(plan, group);
  }

  /**
   * @param plan the one that was counted; fewer images may have been run, in other groups of the same stages
   * @param waited seconds in which its weights had not come
   */
  finish(plan: NetworkPlan, group: Pick<StageGroup, 'first' | 'count'>, stage: string, waited: number): Progress {
    this.#count(plan, group, waited);
    return this.#progress(plan.network, stage);
  }

  /** A group of another plan has its share of those that hold its stages. */
  #count(plan: NetworkPlan, { first, count }: Pick<StageGroup, 'first' | 'count'>, waited = 0): void {
    for (const group of this.#planned.get(plan) ?? []) {
      const common = Math.min(first + count, group.first + group.stages) - Math.max(first, group.first);
      if (common <= 0) continue;
      const share = common / group.stages;
      add(this.#done, group, share);
      add(group.step.done, group, share);
      group.step.waited += (waited * common) / count;
    }
  }

  #progress(network: string, stage: string): Progress {
    const elapsed = (performance.now() - this.#started) / 1000;
    const left = Math.max(0, this.#total.seconds - this.#done.seconds);
    const bytesDone = Math.round(this.#done.bytes);
    return {
      network,
      stage,
      stageIndex: Math.round(this.#done.stages),
      stageCount: this.#total.stages,
      bytesDone,
      bytesTotal: this.#total.bytes,
      bytesPerSecond: bytesDone / Math.max(elapsed, 1e-3),
      etaSeconds: this.#done.seconds > 0 ? (left * elapsed) / this.#done.seconds : left,
      work: [...this.#steps.values()].map((step) => ({
        ...{ step: step.name, done: step.done.seconds, total: step.total.seconds },
        reading: this.#readingOf(step),
      })),
    };
  }

  #readingOf({ done, total, waited, tellsWaits, readSpeed }: Step): StepReading | undefined {
    if (total.bytes === 0) return undefined;
    return {
      ...{ done: done.bytes, total: total.bytes },
      ...(tellsWaits ? { waited } : {}),
      ...(readSpeed === undefined ? {} : { speed: readSpeed * this.#readsFaster() }),
    };
  }

  /**
   * How much faster the reader is than it was where speeds were tried: disks read ahead of whoever reads on. That it is
   * slower says nothing of the disk, since others take the cores.
   */
  #readsFaster(): number {
    const tried = [...this.#steps.values()].filter(({ readSpeed }) => readSpeed !== undefined);
    const sum = (of: (step: Step) => number): number => tried.reduce((total, step) => total + of(step), 0);
    const bytes = sum(({ done }) => done.bytes);
    const { bytes: read, ms } = this.#readAhead();
    if (bytes === 0 || read === 0) return 1;
    const expected = sum(({ done, readSpeed }) => done.bytes / (readSpeed as number));
    const took = (ms / 1000) * (bytes / read);
    const prior = (FASTER_PRIOR_SHARE * sum(({ total }) => total.bytes) * expected) / bytes;
    return Math.max(1, (prior + expected) / (prior + took));
  }

  #plannedGroups({ plan, groups, readSpeed }: ExpectedWork): readonly PlannedGroup[] {
    return plan.groups.map(({ first, count, weightBytes }, i) => {
      const { seconds, isKept } = groups[i] as ExpectedGroup;
      const step = this.#step(plan.network, plan.weightsAs === 'fed', readSpeed);
      return { step, bytes: isKept ? 0 : weightBytes, first, stages: count, seconds };
    });
  }

  #step(name: string, tellsWaits: boolean, readSpeed: number | undefined): Step {
    const known = this.#steps.get(name);
    const nothing = (): Amounts => ({ stages: 0, bytes: 0, seconds: 0 });
    const step = known ?? { name, done: nothing(), total: nothing(), waited: 0, tellsWaits, readSpeed };
    this.#steps.set(name, step);
    return step;
  }
}

function add(sum: Amounts, { stages, bytes, seconds }: Readonly<Amounts>, share = 1): void {
  sum.stages += share * stages;
  sum.bytes += share * bytes;
  sum.seconds += share * seconds;
}

/** A message takes both ends as long as a small group takes. */
const TOLD_EVERY_MS = 50;

/** Tells of the first progress, of a job's last, and between them of no two that come within 50 ms. */
export function paced(
  tell: (progress: Progress) => void,
  now: () => number = () => performance.now(),
): (progress: Progress) => void {
  let told = -Infinity;
  return (progress) => {
    const isLast = progress.stageIndex === progress.stageCount;
    if (!isLast && now() - told < TOLD_EVERY_MS) return;
    told = now();
    tell(progress);
  };
}
