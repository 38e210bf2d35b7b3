import { Reader } from '../../main/offload/reader.ts';
import type { Port, Stage } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import { IMAGES } from '../../main/onnx/graph.ts';
import { runInTwoShares } from './in-two-shares.ts';

/**
 * A process that runs as many stages as it is told, each of which makes a large state of the one before and has no more
 * use for that. It prints the most memory that it had, in bytes.
 */
const WIDTH = 4 << 20;
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

const trace = new Trace();
const reader = new Reader(trace);
const load = () => ({ 'state 0': { data: new Float32Array(WIDTH), dims: [1, 1, WIDTH] } });
await runInTwoShares([...steps, last], { images: 4, load }, reader, trace);
await reader.close();
console.log(trace.summary().peakResidentBytes);
