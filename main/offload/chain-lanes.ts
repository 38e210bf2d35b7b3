import { inputsOf } from '../linear/chain.ts';
import { groupName, type NetworkRun } from './group.ts';
import type { ChainTask } from './chain-thread.ts';
import type { LaneGroup, LaneWork } from './lanes.ts';

/** Lanes that compute chains of linear layers, and have no runtime. */
export function chainWork({ stages, plan }: NetworkRun): LaneWork {
  return {
    script: new URL('./chain-thread.ts', import.meta.url),
    readsAhead: false,
    join: (at) => {
      const group = plan.groups[at];
      if (!group) return undefined;
      const members = stages.slice(group.first, group.first + group.count);
      const chains = members.flatMap((stage) => stage.chains ?? []);
      return {
        ...{ group, name: groupName(members), keeps: [], emits: chains.map(({ name }) => name) },
        takes: [...new Set(chains.flatMap(inputsOf))],
        weights: chains.flatMap(({ layers }) => layers.map(({ weight }) => ({ range: weight }))),
        task: (state, layout): ChainTask => ({ chains, state, layout }),
      } satisfies LaneGroup;
    },
  };
}
