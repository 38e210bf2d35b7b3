import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ort from 'onnxruntime-node';
import { afterAll, expect, test } from 'vitest';
import { runOrder } from '../../main/onnx/cost.ts';
import { ELEMENT, encodeModel, type NodeProto } from '../../main/onnx/proto.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';

const folder = mkdtempSync(join(tmpdir(), 'i2l-order-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Sums of earlier sums, of the input x and of a constant; all that nobody takes are outputs. */
function randomGraph(seed: number): NodeProto[] {
  const next = mulberry32(seed);
  const names = ['x', 'constant'];
  const pick = (): string => names[Math.floor(next() * names.length)] ?? 'x';
  return Array.from({ length: 12 }, (_, i) => {
    const node: NodeProto = { opType: 'Add', domain: '', name: `n${i}`, input: [pick(), pick()], output: [`v${i}`], attribute: [] };
    names.push(`v${i}`);
    return node;
  });
}

/** The order in which onnxruntime ran them, by its own profile. */
async function profiledOrder(nodes: readonly NodeProto[], name: string): Promise<string[]> {
  const used = new Set(nodes.flatMap(({ input }) => input));
  const info = (value: string) => ({
    name: value,
    type: { tensorType: { elemType: ELEMENT.FLOAT, shape: { dim: [{ dimValue: 2 }] } } },
  });
  const model = encodeModel({
    irVersion: 13,
    producerName: 'test',
    opsetImport: [{ domain: '', version: 26 }],
    graph: {
      name: 'sums',
      node: nodes,
      initializer: [{ name: 'constant', dims: [2], dataType: ELEMENT.FLOAT, rawData: new Uint8Array(8) }],
      input: [info('x')],
      output: nodes.flatMap(({ output }) => output.filter((value) => !used.has(value)).map(info)),
    },
  });
  const session = await ort.InferenceSession.create(model, {
    graphOptimizationLevel: 'disabled',
    enableProfiling: true,
    profileFilePrefix: join(folder, name),
  });
  await session.run({ x: new ort.Tensor('float32', new Float32Array(2), [2]) });
  session.endProfiling();
  await session.release();
  const file = readdirSync(folder).find((entry) => entry.startsWith(`${name}_`)) ?? '';
  const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { cat: string; name: string }[];
  return events.flatMap(({ cat, name: event }) => (cat === 'Node' && event.endsWith('_kernel_time') ? [event.slice(0, -'_kernel_time'.length)] : [])); // prettier-ignore
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])('nodes run in the order that the costs assume: graph %i', async (seed) => {
  const nodes = randomGraph(seed);
  expect(runOrder(nodes).map(({ name }) => name)).toEqual(await profiledOrder(nodes, `graph-${seed}`));
});
