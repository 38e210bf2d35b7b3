import type { I2lError } from '../../main/contract/errors.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import type { NetworkRun } from '../../main/offload/group.ts';
import { Reader } from '../../main/offload/reader.ts';
import { Trace } from '../../main/offload/trace.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { rejectionOf } from './errors.ts';

/** A run of a small network, and what was told of it. */
export interface TestRun {
  readonly run: NetworkRun;
  /** The first stage of each group that is done. */
  readonly groups: string[];
}

/** What a plan of a small network is asked with: its memory is no matter. */
export const PLAN_REQUEST = { network: 'test', budget: 2 ** 30, baseline: 0, feeds: true };

export function testRun(given: Pick<NetworkRun, 'stages' | 'plan' | 'load' | 'sink'> & Partial<NetworkRun>): TestRun {
  const [groups, trace]: [string[], Trace] = [[], new Trace()];
  const run: NetworkRun = {
    session: { device: 'cpu', threads: 2 },
    onGroup: (_group, stage) => void groups.push(stage),
    signal: new AbortController().signal,
    ...{ trace, reader: new Reader(trace) },
    ...given,
  };
  return { run, groups };
}

/** Random values between -1 and 1. @param dims of one image */
export function imagesOf(name: string, images: number, dims: readonly number[]): NetworkRun['load'] {
  const random = mulberry32(9);
  const width = dims.reduce((product, dim) => product * dim);
  const data = Float32Array.from({ length: images * width }, () => 2 * random() - 1);
  return ({ first, count }) => ({
    [name]: { data: data.slice(first * width, (first + count) * width), dims: [count, ...dims] },
  });
}

/** Runs it, and cancels it when its first group is done. @returns what it ended with */
export function cancelAfterFirst({ run }: TestRun): Promise<I2lError> {
  const cancelled = new AbortController();
  const onGroup: NetworkRun['onGroup'] = (group, stage, waited) => {
    run.onGroup(group, stage, waited);
    cancelled.abort();
  };
  return rejectionOf(runNetwork({ ...run, onGroup, signal: cancelled.signal }));
}
