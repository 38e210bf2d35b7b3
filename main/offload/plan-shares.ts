import { bufferBytes, LANE_BYTES, resultBytes, stateBytes, sumWeights, workBytes } from './plan-memory.ts';
import type { PlanRequest, StageGroup } from './planner.ts';
import type { StageCost } from './stage.ts';

interface ShareRequest {
  /** Parts in which stages are computed at the same time, each by a thread of its own or several. */
  readonly shares: number;
  readonly imagesPerRun: number;
  /** What each stage costs in so many shares: one of them, where it has parts. */
  readonly costs: readonly StageCost[];
}

/**
 * Each stage by itself, since what its shares give is added up before the next. They read the weights from the same two
 * buffers; each has its own activations, and results that wait to be added.
 */
export function inShares(request: PlanRequest, { shares, imagesPerRun, costs }: ShareRequest): readonly StageGroup[] {
  const buffers = bufferBytes(request.costs.map((cost) => sumWeights([cost])));
  return request.costs.map((whole, i) => {
    const share = [costs[i] ?? whole];
    const own = workBytes(share, imagesPerRun) + resultBytes(share, imagesPerRun);
    const together = (whole.parts === undefined ? 1 : shares) * own + shares * LANE_BYTES;
    return {
      ...{ first: i, count: 1, waitsFor: whole.waitsFor },
      weightBytes: sumWeights([whole]),
      peakBytes: request.baseline + stateBytes(request, [whole]) + buffers + together,
    };
  });
}
