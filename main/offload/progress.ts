import { KEPT_STEP } from '../contract/engine.ts';
import type { NetworkPlan, StageGroup } from './planner.ts';

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
  /** In expected seconds; a network's groups that read nothing are a step of their own, since they go at another speed. */
  readonly work: readonly { readonly step: string; readonly done: number; readonly total: number }[];
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
}

interface Amounts {
  stages: number;
  bytes: number;
  seconds: number;
}

/** A group that was planned: its stages, and what is counted when they are done. */
interface PlannedGroup extends Readonly<Amounts> {
  readonly step: string;
  readonly first: number;
}

/** Turns finished groups into progress; the time left follows from the speed so far. */
export class ProgressMeter {
  readonly #planned: ReadonlyMap<NetworkPlan, readonly PlannedGroup[]>;
  readonly #total: Amounts = { stages: 0, bytes: 0, seconds: 0 };
  readonly #done: Amounts = { stages: 0, bytes: 0, seconds: 0 };
  readonly #work = new Map<string, { done: number; total: number }>();
  readonly #started = performance.now();

  constructor(works: readonly ExpectedWork[]) {
    this.#planned = new Map(works.map((work) => [work.plan, plannedGroups(work)]));
    for (const group of [...this.#planned.values()].flat()) {
      add(this.#total, group);
      const { total = 0 } = this.#work.get(group.step) ?? {};
      this.#work.set(group.step, { done: 0, total: total + group.seconds });
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

  /** @param plan the one that was counted; fewer images may have been run, in other groups of the same stages */
  finish(plan: NetworkPlan, group: Pick<StageGroup, 'first' | 'count'>, stage: string): Progress {
    this.#count(plan, group);
    return this.#progress(plan.network, stage);
  }

  /** A group of another plan has its share of those that hold its stages. */
  #count(plan: NetworkPlan, { first, count }: Pick<StageGroup, 'first' | 'count'>): void {
    for (const group of this.#planned.get(plan) ?? []) {
      const common = Math.min(first + count, group.first + group.stages) - Math.max(first, group.first);
      if (common <= 0) continue;
      const share = common / group.stages;
      add(this.#done, group, share);
      (this.#work.get(group.step) as { done: number }).done += share * group.seconds;
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
      work: [...this.#work].map(([step, { done, total }]) => ({ step, done, total })),
    };
  }
}

function plannedGroups({ plan, groups }: ExpectedWork): readonly PlannedGroup[] {
  return plan.groups.map(({ first, count, weightBytes }, i) => {
    const { seconds, isKept } = groups[i] as ExpectedGroup;
    const read = isKept ? { step: plan.network + KEPT_STEP, bytes: 0 } : { step: plan.network, bytes: weightBytes };
    return { ...read, first, stages: count, seconds };
  });
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
