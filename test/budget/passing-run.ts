import { runNetwork } from '../../main/offload/executor.ts';
import { inShares } from '../../main/offload/plan-shares.ts';
import { planNetwork } from '../../main/offload/planner.ts';
import { Reader } from '../../main/offload/reader.ts';
import { stageCosts, type Port, type Stage } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import { IMAGES } from '../../main/onnx/graph.ts';

/**
 * A process that runs as many stages as it is told in two shares, each of which makes a large state of the one before
 * and has no more use for that. It prints the most memory that it had, in bytes.
 */
const WIDTH = 4 << 20;
const images = 4;
const length = Number(process.argv[2]);

const port = (name: string): Port => ({ name, value: (g) => g.input(name, [IMAGES, 1, WIDTH]) });
const steps = Array.from({ length }, (_, i): Stage => ({
  id: `step ${i}`,
  takes: [port(`state ${i}`)],
  build: (g, take) => ({ state: { [`state ${i + 1}`]: g.gelu(take(`state ${i}`)) } }),
}));
const last: Stage = {
  id: 'last',
  takes: [port(`state ${length}`)],
  build: (g, take) => ({ emit: { result: g.slice(take(`state ${length}`), 2, 0, 1) } }),
};

const stages = [...steps, last];
const costs = stageCosts(stages, { fusedAttention: true, weightsAs: 'fed' });
const request = { network: 'x', costs, images, budget: 2 ** 40, baseline: 0, wholeBatch: false, threads: 1, feeds: true };
const manner = { shares: 2, threadsPerShare: 1, imagesPerRun: 1 };
const plan = { ...planNetwork(request), ...manner, groups: inShares(request, { ...manner, costs }) };
const trace = new Trace();
const reader = new Reader(trace);
await runNetwork({
  stages,
  plan,
  session: { device: 'cpu', threads: 1 },
  load: ({ count }) => ({ 'state 0': { data: new Float32Array(count * WIDTH), dims: [count, 1, WIDTH] } }),
  sink: () => undefined,
  onGroup: () => undefined,
  signal: new AbortController().signal,
  reader,
  trace,
});
await reader.close();
console.log(trace.summary().peakResidentBytes);
