import type { TensorRange } from '../../main/contract/tensor.ts';
import { Reader } from '../../main/offload/reader.ts';
import type { Port, Stage } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import { IMAGES } from '../../main/onnx/graph.ts';
import { runInTwoShares } from './in-two-shares.ts';

/** A process that runs the same network as often as it is told, over a file of weights. It prints the most memory that it had. */
const WIDTH = 4 << 10;
const [file = '', times = ''] = process.argv.slice(2);

const weight = (i: number): TensorRange => {
  const length = 2 * WIDTH * WIDTH;
  return { name: `${i}`, dtype: 'BF16', shape: [WIDTH, WIDTH], file, offset: i * length, length };
};
const hidden: Port = { name: 'hidden', value: (g) => g.input('hidden', [IMAGES, 1, WIDTH]) };
const steps = [0, 1, 2].map((i): Stage => ({
  id: `step ${i}`,
  takes: [hidden],
  parts: WIDTH,
  build: (g, take) => {
    const x = take('hidden');
    return { state: { hidden: g.residual(x, g.collect(g.spread(x, weight(i)), weight(i + 1))) } };
  },
}));
const last: Stage = { id: 'last', takes: [hidden], build: (_g, take) => ({ emit: { result: take('hidden') } }) };

const trace = new Trace();
const reader = new Reader(trace);
const load = () => ({ hidden: { data: new Float32Array(WIDTH), dims: [1, 1, WIDTH] } });
for (let i = 0; i < Number(times); i++) await runInTwoShares([...steps, last], { images: 1, load }, reader, trace);
await reader.close();
console.log(trace.summary().peakResidentBytes);
