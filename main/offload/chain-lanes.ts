import { inputsOf, resultBytes, type LinearChain } from '../linear/chain.ts';
import { groupName, type NetworkRun } from './group.ts';
import type { NetworkPlan, StageGroup } from './planner.ts';
import type { ChainTask } from './chain-thread.ts';
import type { LaneGroup, LaneWork } from './lanes.ts';
import type { Stage } from './stage.ts';

/** Lanes that compute chains of linear layers, and have no runtime. */
export function chainWork({ stages, plan }: NetworkRun): LaneWork {
  const membersOf = ({ first, count }: StageGroup): readonly Stage[] => stages.slice(first, first + count);
  const place = resultPlaces(
    plan,
    plan.groups.map((group) => resultBytes(chainsOf(membersOf(group)), plan.images)),
  );
  return {
    script: new URL('./chain-thread.ts', import.meta.url),
    join: (at) => {
      const group = plan.groups[at];
      if (!group) return undefined;
      const members = membersOf(group);
      const chains = chainsOf(members);
      return {
        ...{ group, name: groupName(members), keeps: [], emits: chains.map(({ name }) => name) },
        takes: [...new Set(chains.flatMap(inputsOf))],
        readAhead: [], // To read them takes longer than to multiply.
        task: (state): ChainTask => ({ chains, state, into: place(at) }),
      } satisfies LaneGroup;
    },
  };
}

function chainsOf(stages: readonly Stage[]): readonly LinearChain[] {
  return stages.flatMap((stage) => stage.chains ?? []);
}

/**
 * Memory for the results of each group, used again once those of the group before it there are taken: to get fresh
 * memory from the system for each takes as long as to compute them.
 */
function resultPlaces({ ahead, lanes }: NetworkPlan, bytes: readonly number[]): (at: number) => SharedArrayBuffer {
  const places: SharedArrayBuffer[] = [];
  const most = Math.max(...bytes);
  return (at) => (places[at % (ahead * lanes)] ??= new SharedArrayBuffer(most));
}
