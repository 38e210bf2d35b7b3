import { MOST_BYTES } from '../linear/wasm-memory.ts';
import { mostOf } from '../onnx/cost.ts';
import { CHAIN_LANE_BYTES, JOINED_LANE_BYTES, resultBytes, stateBytes, sumWeights } from './plan-memory.ts';
import type { NetworkPlan, PlanRequest, StageGroup } from './planner.ts';
import type { StageCost } from './stage.ts';

/** With few groups ahead, a lane waits where another one's group is longer, or results are being written. */
const MOST_AHEAD = 8;
/** With more, results fill the memory. */
const WAITING_BYTES = 8 << 20;

/** Whether all stages are chains of linear layers that can be run without the runtime. */
export function areChains({ costs, feeds, wholeBatch }: PlanRequest): boolean {
  return feeds && wholeBatch && costs.every(({ chainBytes }) => chainBytes !== undefined);
}

/**
 * A lane's memory has room for a piece of a weight and what is made of it, and never becomes smaller. Results of all groups
 * that it was asked for may wait to be taken.
 * @returns undefined for more images than such a memory can have
 */
export function inChains(request: PlanRequest, lanes: number): Pick<NetworkPlan, 'groups' | 'ahead'> | undefined {
  const { costs, images, baseline } = request;
  const runs = joinedRuns(costs, images);
  const memory = Math.max(...runs.map((members) => scratchBytes(members, images)));
  if (memory > MOST_BYTES) return undefined;
  const waiting = Math.max(...runs.map((members) => resultBytes(members, images)));
  const ahead = Math.max(2, Math.min(MOST_AHEAD, Math.floor(WAITING_BYTES / waiting)));
  let first = 0;
  const groups = runs.map((members): StageGroup => {
    const group = { first, count: members.length, waitsFor: -1, weightBytes: sumWeights(members) };
    first += members.length;
    const own = CHAIN_LANE_BYTES + memory + ahead * waiting;
    return { ...group, peakBytes: baseline + stateBytes(request, members) + lanes * own };
  });
  return { groups, ahead };
}

function scratchBytes(costs: readonly StageCost[], images: number): number {
  const { fixed, perImage } = mostOf(costs.flatMap(({ chainBytes }) => chainBytes ?? []));
  return fixed + perImage * images;
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
