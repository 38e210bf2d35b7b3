import { I2lError } from '../contract/errors.ts';
import type { StageCost } from './stage.ts';

/**
 * Decides how a network's stages run within a memory budget. A pure function of the stages' costs: the
 * same input gives the same plan on every machine.
 */
export interface PlanRequest {
  readonly network: string;
  readonly costs: readonly StageCost[];
  readonly images: number;
  /** Bytes that the engine's process may reach. */
  readonly budget: number;
  /** Bytes that it takes before any stage. */
  readonly baseline: number;
  /** The stages' results hold all images at once (a LoRA's ranks lie side by side), so all go in one run. */
  readonly wholeBatch: boolean;
}

/** Consecutive stages that run as one graph. */
export interface StageGroup {
  readonly first: number;
  readonly count: number;
  readonly weightBytes: number;
  readonly peakBytes: number;
}

export interface NetworkPlan {
  readonly network: string;
  readonly groups: readonly StageGroup[];
  readonly imagesPerRun: number;
  readonly images: number;
  readonly weightBytes: number;
  readonly flops: number;
  /** The most that any group takes, the baseline included. */
  readonly peakBytes: number;
}

/** Joining spares a session's set-up (1 to 3 ms); beyond this many bytes of weights and work it gains nothing. */
const JOINED_BYTES = 64 << 20;
/** More images a run stop paying once the products are large. */
const MOST_IMAGES_PER_RUN = 8;

/** @throws I2lError MEMORY_BUDGET, with the smallest budget that works */
export function planNetwork(request: PlanRequest): NetworkPlan {
  const { network, costs, images } = request;
  const imagesPerRun = chooseImagesPerRun(request);
  const groups = joinGroups(request, imagesPerRun);
  const flops = costs.reduce((sum, cost) => sum + cost.flops.fixed + cost.flops.perImage * images, 0);
  return {
    network,
    groups,
    imagesPerRun,
    images,
    weightBytes: groups.reduce((sum, group) => sum + group.weightBytes, 0),
    flops,
    peakBytes: Math.max(...groups.map((group) => group.peakBytes)),
  };
}

function chooseImagesPerRun(request: PlanRequest): number {
  const { images, wholeBatch, budget } = request;
  const most = wholeBatch ? images : Math.min(images, MOST_IMAGES_PER_RUN);
  const least = wholeBatch ? images : 1;
  for (let count = most; count >= least; count--) {
    if (largestStage(request, count).bytes <= budget) return count;
  }
  const { bytes, stage } = largestStage(request, least);
  throw memoryRefusal(request.network, stage, bytes, budget);
}

/** @param bytes the smallest budget that works */
export function memoryRefusal(network: string, stage: string, bytes: number, budget: number): I2lError {
  return new I2lError(
    'MEMORY_BUDGET',
    `${network} needs ${megabytes(bytes)} for ${stage} and may take ${megabytes(budget)}; allow at least --memory ${megabytes(bytes)}.`,
    { network, stage, smallest: bytes, budget },
  );
}

function largestStage(request: PlanRequest, imagesPerRun: number): { bytes: number; stage: string } {
  let largest = { bytes: 0, stage: '' };
  for (const cost of request.costs) {
    const bytes = peakOf(request, [cost], imagesPerRun);
    if (bytes > largest.bytes) largest = { bytes, stage: cost.id };
  }
  return largest;
}

/**
 * Mapped weights, their cast copies and activations at the worst node, the results of the members before
 * it, and the state of all images.
 */
function peakOf(request: PlanRequest, costs: readonly StageCost[], imagesPerRun: number): number {
  return request.baseline + stateBytes(request, costs) + sumWeights(costs) + workBytes(costs, imagesPerRun);
}

function stateBytes(request: PlanRequest, costs: readonly StageCost[]): number {
  return Math.max(...costs.map((cost) => cost.stateBytes)) * request.images;
}

/** What a run allocates. */
function workBytes(costs: readonly StageCost[], imagesPerRun: number): number {
  let earlier = 0;
  let most = 0;
  for (const { live, results } of costs) {
    for (const { fixed, perImage } of live) most = Math.max(most, earlier + fixed + perImage * imagesPerRun);
    earlier += results.fixed + results.perImage * imagesPerRun;
  }
  return most;
}

function sumWeights(costs: readonly StageCost[]): number {
  return costs.reduce((sum, cost) => sum + cost.weights.reduce((bytes, range) => bytes + range.length, 0), 0);
}

function joinGroups(request: PlanRequest, imagesPerRun: number): StageGroup[] {
  const { costs, budget } = request;
  const groups: StageGroup[] = [];
  let first = 0;
  while (first < costs.length) {
    let count = 1;
    while (first + count < costs.length && joinable(costs.slice(first, first + count + 1))) count++;
    const members = costs.slice(first, first + count);
    groups.push({ first, count, weightBytes: sumWeights(members), peakBytes: peakOf(request, members, imagesPerRun) });
    first += count;
  }
  return groups;

  function joinable(members: readonly StageCost[]): boolean {
    const bytes = sumWeights(members) + workBytes(members, imagesPerRun);
    return bytes <= JOINED_BYTES && peakOf(request, members, imagesPerRun) <= budget;
  }
}

/** Rounded up, so that a budget named in an error works when it is given. */
function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)}MiB`;
}
