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
  /** Of each network, in expected seconds. */
  readonly work: readonly { readonly step: string; readonly done: number; readonly total: number }[];
}

/** A network's plan, and what each of its groups is expected to take; only the proportions matter once a job runs. */
export interface ExpectedWork {
  readonly plan: NetworkPlan;
  /** Of each group, seconds; see {@link groupSeconds}. */
  readonly seconds: readonly number[];
}

/** Turns finished groups into progress; the time left follows from the speed so far. */
export class ProgressMeter {
  readonly #total: { readonly stages: number; readonly bytes: number; readonly seconds: number };
  readonly #expected: ReadonlyMap<NetworkPlan, readonly number[]>;
  readonly #work = new Map<string, { done: number; total: number }>();
  readonly #started = performance.now();
  #done = { stages: 0, bytes: 0, seconds: 0 };

  constructor(works: readonly ExpectedWork[]) {
    const sum = (of: (plan: NetworkPlan) => number): number => works.reduce((total, { plan }) => total + of(plan), 0);
    this.#expected = new Map(works.map(({ plan, seconds }) => [plan, seconds]));
    this.#total = {
      stages: sum((plan) => plan.groups.reduce((count, group) => count + group.count, 0)),
      bytes: sum((plan) => plan.weightBytes),
      seconds: sum((plan) => this.#secondsOf(plan)),
    };
    for (const { plan } of works) this.#workOf(plan.network).total += this.#secondsOf(plan);
  }

  /** Before anything is done: whoever measures speeds takes the time from here. */
  begin({ network }: NetworkPlan): Progress {
    return this.#progress(network, '');
  }

  /** All of its images turned out to be of no use. */
  skip(plan: NetworkPlan): void {
    this.#done.stages += plan.groups.reduce((count, group) => count + group.count, 0);
    this.#done.bytes += plan.weightBytes;
    this.#count(plan, this.#secondsOf(plan));
  }

  /** @param plan the one that was counted; fewer images may have been run, in other groups of the same stages */
  finish(plan: NetworkPlan, group: StageGroup, stage: string): Progress {
    this.#done.stages += group.count;
    this.#done.bytes += group.weightBytes;
    this.#count(plan, this.#secondsOfStages(plan, group));
    return this.#progress(plan.network, stage);
  }

  #secondsOf(plan: NetworkPlan): number {
    return (this.#expected.get(plan) ?? []).reduce((sum, seconds) => sum + seconds, 0);
  }

  /** A group of another plan has its share of those that hold its stages. */
  #secondsOfStages(plan: NetworkPlan, { first, count }: StageGroup): number {
    const seconds = this.#expected.get(plan) ?? [];
    return plan.groups.reduce((sum, planned, i) => {
      const shared = Math.min(first + count, planned.first + planned.count) - Math.max(first, planned.first);
      return sum + (Math.max(0, shared) / planned.count) * (seconds[i] ?? 0);
    }, 0);
  }

  #progress(network: string, stage: string): Progress {
    const elapsed = (performance.now() - this.#started) / 1000;
    const left = Math.max(0, this.#total.seconds - this.#done.seconds);
    return {
      network,
      stage,
      stageIndex: this.#done.stages,
      stageCount: this.#total.stages,
      bytesDone: this.#done.bytes,
      bytesTotal: this.#total.bytes,
      bytesPerSecond: this.#done.bytes / Math.max(elapsed, 1e-3),
      etaSeconds: this.#done.seconds > 0 ? (left * elapsed) / this.#done.seconds : left,
      work: [...this.#work].map(([step, { done, total }]) => ({ step, done, total })),
    };
  }

  #count({ network }: NetworkPlan, seconds: number): void {
    this.#done.seconds += seconds;
    this.#workOf(network).done += seconds;
  }

  #workOf(network: string): { done: number; total: number } {
    const work = this.#work.get(network) ?? { done: 0, total: 0 };
    this.#work.set(network, work);
    return work;
  }
}
