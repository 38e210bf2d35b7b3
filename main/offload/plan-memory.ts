import { elementCount } from '../contract/tensor.ts';
import type { PlanRequest } from './planner.ts';
import type { StageCost } from './stage.ts';
import { roomFor } from './weight-buffer.ts';

/** What a plan takes of memory. */

/** A thread with Node and the runtime in it. */
export const LANE_BYTES = 24 << 20;
/** A thread with Node alone. */
export const CHAIN_LANE_BYTES = 12 << 20;
/** Joining stages spares a session's set-up, or a message; groups that run side by side take memory together. */
export const JOINED_LANE_BYTES = 12 << 20;

/** What a run of stages is like. */
export interface Manner {
  readonly imagesPerRun: number;
  readonly lanes: number;
}

/** What a group takes where it runs, beside its inputs: its weights, their cast copies and its activations. */
function ownBytes(costs: readonly StageCost[], imagesPerRun: number): number {
  return sumWeights(costs) + workBytes(costs, imagesPerRun);
}

/**
 * The same on another device, which has the inputs once more. Weights that were cast before wait in buffers of its driver
 * until it comes to them: where it is slower than the casts, all of a group's do (measured with a software driver).
 */
export function deviceBytes({ crossesCast }: PlanRequest, costs: readonly StageCost[], imagesPerRun: number): number {
  const inputs = Math.max(...costs.map(({ inputBytes }) => inputBytes)) * imagesPerRun;
  if (!crossesCast) return ownBytes(costs, imagesPerRun) + inputs;
  return castBytes(costs) + workBytes(costs, imagesPerRun) + inputs;
}

/** Of all weights as f32. */
function castBytes(costs: readonly StageCost[]): number {
  return costs.reduce((sum, { weights }) => weights.reduce((bytes, { shape }) => bytes + 4 * elementCount(shape), sum), 0);
}

/**
 * Mapped weights, their cast copies and activations at the worst node, the results of the members before
 * it, and the state of all images. Each lane takes as much but for the state, and its last results wait to be taken.
 */
export function peakOf(request: PlanRequest, costs: readonly StageCost[], { imagesPerRun, lanes }: Manner): number {
  const own = ownBytes(costs, imagesPerRun);
  const shared = request.baseline + stateBytes(request, costs);
  if (lanes === 1) return shared + own;
  return shared + lanes * (LANE_BYTES + own + resultBytes(costs, imagesPerRun));
}

export function resultBytes(costs: readonly StageCost[], imagesPerRun: number): number {
  return costs.reduce((sum, { results }) => sum + results.fixed + results.perImage * imagesPerRun, 0);
}

export function stateBytes(request: PlanRequest, costs: readonly StageCost[]): number {
  return Math.max(...costs.map((cost) => cost.stateBytes)) * request.images;
}

/** What a run allocates. */
export function workBytes(costs: readonly StageCost[], imagesPerRun: number): number {
  let earlier = 0;
  let most = 0;
  for (const { live, results } of costs) {
    for (const { fixed, perImage } of live) most = Math.max(most, earlier + fixed + perImage * imagesPerRun);
    earlier += results.fixed + results.perImage * imagesPerRun;
  }
  return most;
}

/** Both buffers that weights are fed from in turn, with room for the largest of these. @param weightBytes of each group */
export function bufferBytes(weightBytes: readonly number[]): number {
  return 2 * roomFor(Math.max(...weightBytes));
}

export function sumWeights(costs: readonly StageCost[]): number {
  return costs.reduce((sum, cost) => sum + cost.weights.reduce((bytes, range) => bytes + range.length, 0), 0);
}
