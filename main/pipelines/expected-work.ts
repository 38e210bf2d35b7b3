import type { ByteRange } from '../contract/tensor.ts';
import type { NetworkPlan, StageGroup } from '../offload/planner.ts';
import type { ExpectedWork } from '../offload/progress.ts';
import { readSpeedOf } from '../offload/read-speed.ts';
import { groupSeconds } from '../offload/simulate.ts';
import type { WeightKeeper } from '../offload/weight-keeper.ts';
import type { PreparedNetwork } from './context.ts';
import { guessedMachine } from './machines.ts';

/**
 * What a job's plans should take of this machine, before anything of it is measured but how fast weights come that have to
 * be read.
 */
export function expectedWork(
  plans: ReadonlyMap<PreparedNetwork, NetworkPlan>,
  threads: number,
  keeper: WeightKeeper | undefined,
): ExpectedWork[] {
  const machine = guessedMachine(threads);
  // By their names: when a network has several passes, the first one's weights are those that were just tried.
  const speeds = new Map<string, number | undefined>();
  return [...plans].map(([{ costs }, plan]) => {
    const weightsOf = ({ first, count }: StageGroup): ByteRange[] =>
      costs.slice(first, first + count).flatMap(({ weights }) => weights);
    const isKept = (group: StageGroup): boolean => {
      const [weight] = weightsOf(group);
      return weight !== undefined && keeper?.holds(weight) === true;
    };
    const seconds = groupSeconds(costs, plan, machine);
    const groups = plan.groups.map((group, i) => ({ seconds: seconds[i] as number, isKept: isKept(group) }));
    if (!speeds.has(plan.network)) {
      const read = plan.groups.filter((_, i) => !groups[i]?.isKept).flatMap(weightsOf);
      speeds.set(plan.network, readSpeedOf(read));
    }
    return { plan, groups, readSpeed: speeds.get(plan.network) };
  });
}
