import type { WeightsAs } from '../onnx/graph.ts';
import { memoryRefusal, type ImageOf, type Shortfall } from './shortfall.ts';
import type { StageCost } from './stage.ts';
import { areChains, inChains } from './plan-chains.ts';
import { inShares } from './plan-shares.ts';
import { bufferBytes, deviceBytes, JOINED_LANE_BYTES, peakOf, sumWeights, type Manner } from './plan-memory.ts';

/**
 * Decides how a network's stages run within a memory budget. A pure function of the stages' costs: the
 * same input gives the same plan on every machine.
 */
export interface PlanRequest {
  readonly network: string;
  readonly costs: readonly StageCost[];
  readonly images: number;
  /** Graphs are run over no fewer; absent: 1. */
  readonly leastImages?: number | undefined;
  /** Bytes that the engine's process may reach. */
  readonly budget: number;
  /** Bytes that it takes before any stage. */
  readonly baseline: number;
  /** The image that takes most while it is decoded, which is done before the first stage. */
  readonly decoding?: Decoding | undefined;
  /** Bytes that a group may take of another device's own memory; absent on the CPU, and where nobody set a limit. */
  readonly deviceBudget?: number | undefined;
  /** They cross to that device as f32, see `castsOn`; else as they are stored. */
  readonly crossesCast?: boolean | undefined;
  /** The stages' results hold all images at once (a LoRA's ranks lie side by side), so all go in one run. */
  readonly wholeBatch: boolean;
  /** Threads that may compute at the same time: in lanes, in shares of a stage, or within an operator. */
  readonly threads: number;
  /** Weights may be fed to graphs, see onnx/node-graph.ts; else they are mapped, and there are no lanes. */
  readonly feeds: boolean;
  /** What stages cost in so many shares; absent, or undefined: they can't be computed so. */
  readonly shareCosts?: ((shares: number) => readonly StageCost[] | undefined) | undefined;
}

/** An image, and the least bytes that decoding it takes beside the baseline. */
export interface Decoding extends ImageOf {
  readonly bytes: number;
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
  /** What computes: graphs of the runtime, or our own products where all stages are chains of linear layers, see linear/. */
  readonly work: 'graphs' | 'chains';
  /** Groups that run at the same time. */
  readonly lanes: number;
  /** Groups that each lane is asked for until the results of the first of them are taken. */
  readonly ahead: number;
  /**
   * Of a network whose stages can run side by side: one thread each, even where there is but one lane, since the
   * runtime rounds otherwise on several. So the results don't depend on the machine's cores and memory.
   */
  readonly threadsPerLane: 'one' | 'all';
  /** Parts in which each stage is computed at the same time; 1: none is shared. Not beside several lanes. */
  readonly shares: number;
  /** Threads of each share: stages may have fewer parts than there are threads. Where none is shared, all. */
  readonly threadsPerShare: number;
  /** Fed: of one lane from two buffers in turn, so that reading and work overlap; of several, each has its own buffer. */
  readonly weightsAs: WeightsAs;
  readonly groups: readonly StageGroup[];
  readonly imagesPerRun: number;
  readonly images: number;
  readonly weightBytes: number;
  readonly flops: number;
  /** The most that any group takes, or the decoding before them. */
  readonly peakBytes: number;
}

/** Joining spares a session's set-up (1 to 3 ms); beyond this many bytes of weights and work it gains nothing. */
const JOINED_BYTES = 64 << 20;
/** More images a run stop paying once the products are large. */
const MOST_IMAGES_PER_RUN = 8;
/** The same where threads share stages: with more, activations no longer stay in the processor's cache. */
const MOST_IMAGES_PER_SHARED_RUN = 2;
/** One is worked on, one waits while its bytes are read. */
const GRAPHS_AHEAD = 2;
/** More lanes or shares than this read faster than memory gives. */
const MOST_SIDE_BY_SIDE = 8;
/** Shares that leave more threads idle lose more than they gain: one session on all threads is faster. */
const LEAST_BUSY = 0.75;
/** To start a thread takes as long as the work on so many bytes of weights. */
const LEAST_LANE_BYTES = 256 << 20;
/** The same for threads that share every stage. */
const LEAST_SHARED_BYTES = 512 << 20;

/** @throws I2lError MEMORY_BUDGET, with the smallest budgets that work */
export function planNetwork(asked: PlanRequest): NetworkPlan {
  const request = forGraphs(asked);
  const most = chooseImagesPerRun(request);
  const { groups, images, ...chosen } = chooseChains(asked) ?? chooseGraphs(request, most);
  const { network, costs } = request;
  return {
    network,
    ...chosen,
    groups,
    images,
    weightBytes: groups.reduce((sum, group) => sum + group.weightBytes, 0),
    flops: costs.reduce((sum, cost) => sum + cost.flops.fixed + cost.flops.perImage * images, 0),
    peakBytes: Math.max(decodingPeak(request), ...groups.map((group) => group.peakBytes)),
  };
}

/** What of a plan is chosen. */
type Chosen = Omit<NetworkPlan, 'network' | 'weightBytes' | 'flops' | 'peakBytes'>;

function forGraphs(request: PlanRequest): PlanRequest {
  return { ...request, images: Math.max(request.images, request.leastImages ?? 1) };
}

/** In as many lanes as the memory allows; undefined where there are other stages, too little memory for one, or too many images. */
function chooseChains(request: PlanRequest): Chosen | undefined {
  if (!areChains(request)) return undefined;
  const { costs, budget, threads, images } = request;
  for (let lanes = Math.max(1, mostLanes(request, costs.length)); lanes > 0; lanes--) {
    const chosen = inChains(request, lanes);
    if (!chosen || chosen.groups.some(({ peakBytes }) => peakBytes > budget)) continue;
    const whole = { shares: 1, threadsPerShare: threads, imagesPerRun: images, images };
    return { work: 'chains', lanes, threadsPerLane: 'one', weightsAs: 'fed', ...chosen, ...whole };
  }
  return undefined;
}

function chooseGraphs(request: PlanRequest, most: number): Chosen {
  const independent = request.wholeBatch ? independentRows(request.costs) : 1;
  const lanes = chooseLanes(request, most, independent);
  const shared = lanes === 1 && canFeed(request) ? chooseShares(request, most) : undefined;
  const threadsPerLane = independent > 1 && canFeed(request) ? 'one' : 'all';
  const manner = shared ?? supplied(request, { imagesPerRun: most, lanes });
  return { work: 'graphs', lanes, ahead: GRAPHS_AHEAD, threadsPerLane, images: request.images, ...manner };
}

/** How groups come by their weights, and are computed. */
type Supplied = Pick<NetworkPlan, 'groups' | 'weightsAs' | 'shares' | 'threadsPerShare' | 'imagesPerRun'>;

/** Feeds the groups' weights where there is room for them and the next group's. */
function supplied(request: PlanRequest, manner: Manner): Supplied {
  const { imagesPerRun, lanes } = manner;
  const groups = joinGroups(request, manner);
  const mapped = { groups, weightsAs: 'mapped', shares: 1, threadsPerShare: request.threads, imagesPerRun } as const;
  if (lanes > 1) return { ...mapped, weightsAs: 'fed' };
  if (!canFeed(request)) return mapped;
  const buffers = bufferBytes(groups.map(({ weightBytes }) => weightBytes));
  const fed = groups.map((group) => ({ ...group, peakBytes: group.peakBytes - group.weightBytes + buffers }));
  const fits = fed.every(({ peakBytes }) => peakBytes <= request.budget);
  return fits ? { ...mapped, groups: fed, weightsAs: 'fed' } : mapped;
}

/** As many shares as stages have parts, as keep the threads busy, and as the memory allows; undefined for none. */
function chooseShares(request: PlanRequest, most: number): Supplied | undefined {
  const { costs, budget, threads, shareCosts, wholeBatch } = request;
  const imagesPerRun = wholeBatch ? most : Math.min(most, MOST_IMAGES_PER_SHARED_RUN);
  const parts = costs.flatMap((cost) => cost.parts ?? []);
  if (!shareCosts || parts.length === 0 || sumWeights(costs) < LEAST_SHARED_BYTES) return undefined;
  for (let shares = Math.min(threads, MOST_SIDE_BY_SIDE); shares > 1; shares--) {
    const threadsPerShare = Math.floor(threads / shares);
    if (parts.some((count) => count % shares !== 0) || shares * threadsPerShare < LEAST_BUSY * threads) continue;
    const own = shareCosts(shares);
    if (!own) continue;
    const groups = inShares(request, { shares, imagesPerRun, costs: own });
    const fits = groups.every(({ peakBytes }) => peakBytes <= budget);
    if (fits) return { groups, weightsAs: 'fed', shares, threadsPerShare, imagesPerRun };
  }
  return undefined;
}

/** The runtime takes bits for f16 and bf16, and not yet for f8. */
function canFeed({ feeds, costs }: PlanRequest): boolean {
  return feeds && !costs.some(({ weights }) => weights.some((range) => 'dtype' in range && range.dtype === 'F8_E4M3'));
}

/** As many as there is work side by side, as pay for their start, and as the memory allows. */
function chooseLanes(request: PlanRequest, imagesPerRun: number, independent: number): number {
  const { costs, budget } = request;
  if (!canFeed(request)) return 1;
  for (let lanes = mostLanes(request, independent); lanes > 1; lanes--) {
    if (costs.every((cost) => peakOf(request, [cost], { imagesPerRun, lanes }) <= budget)) return lanes;
  }
  return 1;
}

/** As many as there are threads and work for, whatever the memory. */
function mostLanes({ costs, threads }: PlanRequest, independent: number): number {
  return Math.min(threads, MOST_SIDE_BY_SIDE, independent, Math.floor(sumWeights(costs) / LEAST_LANE_BYTES));
}

/** How many times the longest row of stages that wait for one another all stages are, by their bytes. */
function independentRows(costs: readonly StageCost[]): number {
  const rows: number[] = [];
  for (const cost of costs) rows.push(sumWeights([cost]) + (rows[cost.waitsFor] ?? 0));
  return Math.floor(sumWeights(costs) / Math.max(1, ...rows));
}

function chooseImagesPerRun(request: PlanRequest): number {
  const { images, wholeBatch } = request;
  const most = wholeBatch ? images : Math.min(images, MOST_IMAGES_PER_RUN);
  for (let count = most; count > leastImagesPerRun(request); count--) if (shortfallsAt(request, count).length === 0) return count;
  const short = shortfalls(request);
  if (short.length > 0) throw memoryRefusal(short);
  return leastImagesPerRun(request);
}

function leastImagesPerRun({ images, wholeBatch }: PlanRequest): number {
  return wholeBatch ? images : 1;
}

/** What keeps a network from running at all: of each budget that is too small, the stage that needs most. */
export function shortfalls(asked: PlanRequest): Shortfall[] {
  const request = forGraphs(asked);
  return shortfallsAt(request, leastImagesPerRun(request));
}

function shortfallsAt(request: PlanRequest, imagesPerRun: number): Shortfall[] {
  const { network, budget, deviceBudget = Infinity, decoding } = request;
  const inMemory = largestBy(request, (cost) => peakOf(request, [cost], { imagesPerRun, lanes: 1 }));
  const onDevice = largestBy(request, (cost) => deviceBytes(request, [cost], imagesPerRun));
  const needs: Shortfall[] = [
    { of: { network, stage: inMemory.stage }, smallest: inMemory.smallest, budget, option: '--memory' },
    { of: { network, stage: onDevice.stage }, smallest: onDevice.smallest, budget: deviceBudget, option: '--vram' },
  ];
  if (decoding) {
    const { file, width, height } = decoding;
    needs.push({ of: { file, width, height }, smallest: decodingPeak(request), budget, option: '--memory' });
  }
  return needs.filter((need) => need.smallest > need.budget);
}

function decodingPeak({ baseline, decoding }: PlanRequest): number {
  return decoding ? baseline + decoding.bytes : 0;
}

function largestBy({ costs }: PlanRequest, bytesOf: (cost: StageCost) => number): { smallest: number; stage: string } {
  let largest = { smallest: 0, stage: '' };
  for (const cost of costs) {
    const bytes = bytesOf(cost);
    if (bytes > largest.smallest) largest = { smallest: bytes, stage: cost.id };
  }
  return largest;
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
    // As for the fewest images, so that jobs of more find the weights that stayed in memory, see WeightKeeper.
    if (deviceBytes(request, members, leastImagesPerRun(request)) > limit) return false;
    return deviceBytes(request, members, manner.imagesPerRun) <= deviceBudget && peakOf(request, members, manner) <= budget;
  }
}
