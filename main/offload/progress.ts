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
  /** Of each network, in seconds on the machine that {@link PRIOR} assumes. */
  readonly work: readonly { readonly step: string; readonly done: number; readonly total: number }[];
}

/**
 * A guess of what a byte of weights and an operation cost, before anything is measured: a cached read
 * with its cast, and two cores' f32 products. Only their ratio matters once a job runs.
 */
export const PRIOR = { bytesPerSecond: 2e9, flopsPerSecond: 1e11 } as const;

export function priorSeconds(weightBytes: number, flops: number): number {
  return weightBytes / PRIOR.bytesPerSecond + flops / PRIOR.flopsPerSecond;
}

/** Turns finished groups into progress; the time left follows from the speed so far. */
export class ProgressMeter {
  readonly #total: { readonly stages: number; readonly bytes: number; readonly seconds: number };
  readonly #work = new Map<string, { done: number; total: number }>();
  readonly #started = performance.now();
  #done = { stages: 0, bytes: 0, seconds: 0 };

  constructor(plans: readonly NetworkPlan[]) {
    const sum = (of: (plan: NetworkPlan) => number): number => plans.reduce((total, plan) => total + of(plan), 0);
    this.#total = {
      stages: sum((plan) => plan.groups.reduce((count, group) => count + group.count, 0)),
      bytes: sum((plan) => plan.weightBytes),
      seconds: sum((plan) => priorSeconds(plan.weightBytes, plan.flops)),
    };
    for (const { network, weightBytes, flops } of plans) this.#workOf(network).total += priorSeconds(weightBytes, flops);
  }

  /** Before anything is done: whoever measures speeds takes the time from here. */
  begin({ network }: NetworkPlan): Progress {
    return this.#progress(network, '');
  }

  /** All of its images turned out to be of no use. */
  skip(plan: NetworkPlan): void {
    this.#done.stages += plan.groups.reduce((count, group) => count + group.count, 0);
    this.#done.bytes += plan.weightBytes;
    this.#count(plan, priorSeconds(plan.weightBytes, plan.flops));
  }

  /** @param plan the one that was counted; fewer images may have been run */
  finish(plan: NetworkPlan, group: StageGroup, stage: string): Progress {
    // A group's share of its network's work goes by its bytes: within a network both grow together.
    const share = plan.weightBytes > 0 ? group.weightBytes / plan.weightBytes : 0;
    this.#done.stages += group.count;
    this.#done.bytes += group.weightBytes;
    this.#count(plan, share * priorSeconds(plan.weightBytes, plan.flops));
    return this.#progress(plan.network, stage);
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
