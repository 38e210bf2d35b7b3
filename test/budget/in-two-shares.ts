import type { TensorMap } from '../../main/contract/tensor.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import { inShares } from '../../main/offload/plan-shares.ts';
import { planNetwork } from '../../main/offload/planner.ts';
import type { Reader } from '../../main/offload/reader.ts';
import { stageCosts, type Stage } from '../../main/offload/stage.ts';
import type { Trace } from '../../main/offload/trace.ts';

/** What a network of a test takes. */
export interface Loaded {
  readonly images: number;
  /** The first stage's state, of one image. */
  readonly load: () => TensorMap;
}

/** Runs stages in two shares, one image at a time, and drops their results. */
export async function runInTwoShares(
  stages: readonly Stage[],
  { images, load }: Loaded,
  reader: Reader,
  trace: Trace,
): Promise<void> {
  const options = { fusedAttention: true, weightsAs: 'fed' } as const;
  const costs = stageCosts(stages, options);
  const request = { network: 'x', costs, images, budget: 2 ** 40, baseline: 0, wholeBatch: false, threads: 1, feeds: true };
  const manner = { shares: 2, threadsPerShare: 1, imagesPerRun: 1, weightsAs: 'fed' } as const;
  const shareCosts = stageCosts(stages, { ...options, share: { index: 0, of: 2 } });
  const plan = { ...planNetwork(request), ...manner, groups: inShares(request, { ...manner, costs: shareCosts }) };
  await runNetwork({
    ...{ stages, plan, load, reader, trace },
    session: { device: 'cpu', threads: 1 },
    sink: () => undefined,
    onGroup: () => undefined,
    signal: new AbortController().signal,
  });
}
