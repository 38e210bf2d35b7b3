import { inShares } from '../../main/offload/plan-shares.ts';
import { planNetwork, type NetworkPlan, type PlanRequest } from '../../main/offload/planner.ts';
import { stageCosts, type Stage } from '../../main/offload/stage.ts';

/** A plan in as few shares as divide all stages' parts, for a network that is too small to be given any. */
export function sharePlan(stages: readonly Stage[], request: PlanRequest): NetworkPlan {
  const parts = stages.flatMap((stage) => stage.parts ?? []);
  const shares = [2, 3, 4, 5].find((count) => parts.every((each) => each % count === 0));
  if (parts.length === 0 || shares === undefined) throw new RangeError(`no shares of ${parts.join()}`);
  const plan = planNetwork(request);
  const costs = stageCosts(stages, { fusedAttention: true, weightsAs: 'fed', share: { index: 0, of: shares } });
  const groups = inShares(request, { shares, imagesPerRun: plan.imagesPerRun, costs });
  return { ...plan, groups, shares, threadsPerShare: 1, weightsAs: 'fed' };
}
