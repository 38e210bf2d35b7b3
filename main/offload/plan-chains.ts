import { CHAIN_LANE_BYTES, CHAINS_AHEAD, JOINED_LANE_BYTES, resultBytes, stateBytes, sumWeights } from './plan-memory.ts';
import type { PlanRequest, StageGroup } from './planner.ts';
import type { StageCost } from './stage.ts';
import { roomFor } from './weight-buffer.ts';

/** Whether all stages are chains of linear layers that can be run without the runtime. */
export function areChains({ costs, feeds, wholeBatch }: PlanRequest): boolean {
  return feeds && wholeBatch && costs.every(({ chainBytes }) => chainBytes !== undefined);
}

/**
 * A lane's memory has room for the largest group, and never becomes smaller. Results of all groups that it was asked for
 * may wait to be taken.
 */
export function inChains(request: PlanRequest, lanes: number): readonly StageGroup[] {
  const { costs, images, baseline } = request;
  const runs = joinedRuns(costs, images);
  const memory = Math.max(...runs.map((members) => roomFor(sumWeights(members)) + scratchBytes(members, images)));
  let first = 0;
  return runs.map((members) => {
    const group = { first, count: members.length, waitsFor: -1, weightBytes: sumWeights(members) };
    first += members.length;
    const own = CHAIN_LANE_BYTES + memory + CHAINS_AHEAD * resultBytes(members, images);
    return { ...group, peakBytes: baseline + stateBytes(request, members) + lanes * own };
  });
}

function scratchBytes(costs: readonly StageCost[], images: number): number {
  return Math.max(...costs.map(({ chainBytes = 0 }) => chainBytes)) * images;
}

/** Consecutive stages of few bytes together: to ask a lane takes a fraction of a millisecond. */
function joinedRuns(costs: readonly StageCost[], images: number): readonly StageCost[][] {
  const runs: StageCost[][] = [];
  for (const cost of costs) {
    const joined = [...(runs.at(-1) ?? []), cost];
    const isSmall = sumWeights(joined) + resultBytes(joined, images) <= JOINED_LANE_BYTES;
    if (isSmall && joined.length > 1) runs[runs.length - 1] = joined;
    else runs.push([cost]);
  }
  return runs;
}
