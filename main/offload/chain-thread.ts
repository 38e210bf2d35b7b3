import type { TensorMap } from '../contract/tensor.ts';
import type { LinearChain } from '../linear/chain.ts';
import { ChainRunner, MOST_READ_BYTES, type ReadRows } from '../linear/chain-runner.ts';
import type { LaneResult } from './lane-thread.ts';
import { OpenFiles } from './placed-reads.ts';
import { serve } from './threads.ts';

/** Chains for a lane, which reads their weights. */
export interface ChainTask {
  readonly chains: readonly LinearChain[];
  readonly state: TensorMap;
  /** Where the results go: memory that whoever takes them sees as well. */
  readonly into: SharedArrayBuffer;
}

/** The system's cache gives this many bytes a second and more; a disk rarely does. */
const CACHE_BYTES_PER_SECOND = 3e9;
/** From the cache, so few bytes that a core's own cache has them still when they are multiplied. */
const LEAST_READ_BYTES = 256 << 10;

const runner = new ChainRunner();
/** A disk is faster when it is asked for much at once, the cache for little. */
let readBytes = LEAST_READ_BYTES;

function perform({ chains, state, into }: ChainTask): LaneResult {
  const started = performance.now();
  const files = new OpenFiles();
  let [bytes, waitMs] = [0, 0];
  const read: ReadRows = ({ file, offset, shape: [, columns = 0] }, first, target) => {
    const began = performance.now();
    files.read(file, offset + 2 * columns * first, target);
    waitMs += performance.now() - began;
    bytes += target.length;
  };
  try {
    const results = runner.run(chains, state, { read, readBytes }, into);
    readBytes = bytes > (waitMs / 1000) * CACHE_BYTES_PER_SECOND ? LEAST_READ_BYTES : MOST_READ_BYTES;
    return { results, waitMs, createMs: 0, runMs: performance.now() - started - waitMs };
  } finally {
    files.close();
  }
}

serve<ChainTask, LaneResult>(
  (task) => Promise.resolve(perform(task)),
  () => [],
  () => Promise.resolve(),
);
