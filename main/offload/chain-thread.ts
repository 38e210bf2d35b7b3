import type { TensorMap, TensorRange } from '../contract/tensor.ts';
import type { LinearChain } from '../linear/chain.ts';
import { ChainRunner } from '../linear/chain-runner.ts';
import { placeOf } from '../onnx/external-data.ts';
import type { LaneResult } from './lane-thread.ts';
import { readInto } from './placed-reads.ts';
import { serve } from './threads.ts';
import type { BufferLayout } from './weight-buffer.ts';

/** Chains for a lane, which reads their weights. */
export interface ChainTask {
  readonly chains: readonly LinearChain[];
  readonly state: TensorMap;
  readonly layout: BufferLayout;
}

const runner = new ChainRunner();

function perform({ chains, state, layout: { bytes, reads } }: ChainTask): LaneResult {
  const started = performance.now();
  runner.memory.release(0);
  runner.memory.take(bytes); // From the first byte on, as they are laid out.
  readInto(runner.memory.buffer, reads);
  const read = performance.now();
  const places = new Map(reads.map((range) => [placeOf(range), range.at]));
  const place = (weight: TensorRange): number => places.get(placeOf(weight)) as number;
  const results = runner.run(chains, state, place);
  return { results, waitMs: read - started, createMs: 0, runMs: performance.now() - read };
}

serve<ChainTask, LaneResult>(
  (task) => Promise.resolve(perform(task)),
  ({ results }) => Object.values(results).map(({ data }) => data.buffer as ArrayBuffer),
  () => Promise.resolve(),
);
