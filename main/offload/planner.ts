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
  /** Bytes that a group may take of another device's own memory; absent on the CPU, and where nobody set a limit. */
  readonly deviceBudget?: number | undefined;
  /** The stages' results hold all images at once (a LoRA's ranks lie side by side), so all go in one run. */
  readonly wholeBatch: boolean;
  /** The most lanes that may be taken: groups that run side by side, each on a thread of its own. */
  readonly lanes: number;
}

/** Consecutive stages that run as one graph. */
export interface StageGroup {
  readonly first: number;
  readonly count: number;
  /** The group whose state it takes, the last of them; -1 for none. */
  readonly waitsFor: number;
  readonly weightBytes: number;
  /** With the same in every other lane, and the baseline. */
  readonly peakBytes: number;
}

export interface NetworkPlan {
  readonly network: string;
  /** Groups that run at the same time. */
  readonly lanes: number;
  /**
   * Of a network whose stages can run side by side: one thread each, even where there is but one lane, since the
   * runtime rounds otherwise on several. So the results don't depend on the machine's cores and memory.
   */
  readonly threadsPerLane: 'one' | 'all';
  readonly groups: readonly StageGroup[];
  readonly imagesPerRun: number;
  readonly images: number;
  readonly weightBytes: number;
  readonly flops: number;
  /** The most that any group takes. */
  readonly peakBytes: number;
}

/** Joining spares a session's set-up (1 to 3 ms); beyond this many bytes of weights and work it gains nothing. */
const JOINED_BYTES = 64 << 20;
/** More images a run stop paying once the products are large. */
const MOST_IMAGES_PER_RUN = 8;
/** The same for groups that run side by side, which take memory together. */
const JOINED_LANE_BYTES = 12 << 20;
/** A thread with Node and the runtime in it. */
const LANE_BYTES = 24 << 20;
/** To start a thread takes as long as the work on so many bytes of weights. */
const LEAST_LANE_BYTES = 256 << 20;

/** @throws I2lError MEMORY_BUDGET, with the smallest budget that works */
export function planNetwork(request: PlanRequest): NetworkPlan {
  const { network, costs, images } = request;
  const imagesPerRun = chooseImagesPerRun(request);
  const independent = request.wholeBatch ? independentRows(costs) : 1;
  const lanes = chooseLanes(request, imagesPerRun, independent);
  const groups = joinGroups(request, { imagesPerRun, lanes });
  const flops = costs.reduce((sum, cost) => sum + cost.flops.fixed + cost.flops.perImage * images, 0);
  return {
    network,
    lanes,
    threadsPerLane: independent > 1 ? 'one' : 'all',
    groups,
    imagesPerRun,
    images,
    weightBytes: groups.reduce((sum, group) => sum + group.weightBytes, 0),
    flops,
    peakBytes: Math.max(...groups.map((group) => group.peakBytes)),
  };
}

/** What a run of stages is like. */
interface Manner {
  readonly imagesPerRun: number;
  readonly lanes: number;
}

/** As many as there is work side by side, as pay for their start, and as the memory allows. */
function chooseLanes(request: PlanRequest, imagesPerRun: number, independent: number): number {
  const { costs, budget } = request;
  const most = Math.min(request.lanes, independent, Math.floor(sumWeights(costs) / LEAST_LANE_BYTES));
  for (let lanes = most; lanes > 1; lanes--) {
    if (costs.every((cost) => peakOf(request, [cost], { imagesPerRun, lanes }) <= budget)) return lanes;
  }
  return 1;
}

/** How many times the longest row of stages that wait for one another all stages are, by their bytes. */
function independentRows(costs: readonly StageCost[]): number {
  const rows: number[] = [];
  for (const cost of costs) rows.push(sumWeights([cost]) + (rows[cost.waitsFor] ?? 0));
  return Math.floor(sumWeights(costs) / Math.max(1, ...rows));
}

function chooseImagesPerRun(request: PlanRequest): number {
  const { images, wholeBatch, budget } = request;
  const most = wholeBatch ? images : Math.min(images, MOST_IMAGES_PER_RUN);
  const least = wholeBatch ? images : 1;
  const { deviceBudget = Infinity } = request;
  for (let count = most; count >= least; count--) {
    if (largestStage(request, count).bytes <= budget && largestOnDevice(request, count).bytes <= deviceBudget) return count;
  }
  const { bytes, stage } = largestStage(request, least);
  if (bytes > budget) throw memoryRefusal(request.network, stage, bytes, budget);
  const onDevice = largestOnDevice(request, least);
  throw memoryRefusal(request.network, onDevice.stage, onDevice.bytes, deviceBudget, '--vram');
}

/** @param bytes the smallest budget that works */
export function memoryRefusal(
  network: string,
  stage: string,
  bytes: number,
  budget: number,
  option: '--memory' | '--vram' = '--memory',
): I2lError {
  return new I2lError(
    'MEMORY_BUDGET',
    `${network} needs ${megabytes(bytes)} for ${stage} and may take ${megabytes(budget)}; allow at least ${option} ${megabytes(bytes)}.`,
    { network, stage, smallest: bytes, budget, option },
  );
}

interface Largest {
  readonly bytes: number;
  readonly stage: string;
}

function largestStage(request: PlanRequest, imagesPerRun: number): Largest {
  return largestBy(request, (cost) => peakOf(request, [cost], { imagesPerRun, lanes: 1 }));
}

function largestOnDevice(request: PlanRequest, imagesPerRun: number): Largest {
  return largestBy(request, (cost) => ownBytes([cost], imagesPerRun));
}

function largestBy({ costs }: PlanRequest, bytesOf: (cost: StageCost) => number): Largest {
  let largest = { bytes: 0, stage: '' };
  for (const cost of costs) {
    const bytes = bytesOf(cost);
    if (bytes > largest.bytes) largest = { bytes, stage: cost.id };
  }
  return largest;
}

/** What a group takes where it runs: its weights, their cast copies and its activations. */
function ownBytes(costs: readonly StageCost[], imagesPerRun: number): number {
  return sumWeights(costs) + workBytes(costs, imagesPerRun);
}

/**
 * Mapped weights, their cast copies and activations at the worst node, the results of the members before
 * it, and the state of all images. Each lane takes as much, and its last results wait to be taken.
 */
function peakOf(request: PlanRequest, costs: readonly StageCost[], { imagesPerRun, lanes }: Manner): number {
  const own = ownBytes(costs, imagesPerRun);
  const shared = request.baseline + stateBytes(request, costs);
  if (lanes === 1) return shared + own;
  return shared + lanes * (LANE_BYTES + own + resultBytes(costs, imagesPerRun));
}

function resultBytes(costs: readonly StageCost[], imagesPerRun: number): number {
  return costs.reduce((sum, { results }) => sum + results.fixed + results.perImage * imagesPerRun, 0);
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

function joinGroups(request: PlanRequest, manner: Manner): StageGroup[] {
  const { costs, budget, deviceBudget = Infinity } = request;
  const limit = manner.lanes === 1 ? JOINED_BYTES : JOINED_LANE_BYTES;
  const groups: StageGroup[] = [];
  const groupOf: number[] = [];
  let first = 0;
  while (first < costs.length) {
    let count = 1;
    while (first + count < costs.length && joinable(costs.slice(first, first + count + 1))) count++;
    const members = costs.slice(first, first + count);
    const before = members.map(({ waitsFor }) => groupOf[waitsFor] ?? -1); // A member that waits for another: not yet there.
    members.forEach(() => groupOf.push(groups.length));
    groups.push({
      first,
      count,
      waitsFor: Math.max(...before),
      weightBytes: sumWeights(members),
      peakBytes: peakOf(request, members, manner),
    });
    first += count;
  }
  return groups;

  function joinable(members: readonly StageCost[]): boolean {
    const bytes = ownBytes(members, manner.imagesPerRun);
    return bytes <= Math.min(limit, deviceBudget) && peakOf(request, members, manner) <= budget;
  }
}

/** Rounded up, so that a budget named in an error works when it is given. */
function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)}MiB`;
}
