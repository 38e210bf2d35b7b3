import { rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HostTensor, TensorMap } from '../../main/contract/tensor.ts';
import { ChainRunner, MOST_READ_BYTES, type ReadRows } from '../../main/linear/chain-runner.ts';
import { resultBytes, type LinearChain } from '../../main/linear/chain.ts';
import { chainStage } from '../../main/offload/chain-stage.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import type { NetworkRun } from '../../main/offload/group.ts';
import { OpenFiles } from '../../main/offload/placed-reads.ts';
import { planNetwork, type NetworkPlan } from '../../main/offload/planner.ts';
import { stageCosts, type Port, type Stage } from '../../main/offload/stage.ts';
import { IMAGES } from '../../main/onnx/graph.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { mulberry32, writeSynthetic } from '../../main/weights/synthetic.ts';
import { rejectionOf } from './errors.ts';
import { tempFolder } from './temp.ts';
import { PLAN_REQUEST, testRun } from './test-run.ts';

/** Sizes that no run of columns, rows or images divides. */
const [WIDTH, BETWEEN, RANK] = [69, 22, 3];
const MIB = 2 ** 20;
const OUT = [RANK * 17, RANK * 40, RANK * 5];
const layout = OUT.flatMap((out, i) => [
  { name: `${i}.in`, shape: [BETWEEN, WIDTH] },
  { name: `${i}.out`, shape: [out, BETWEEN] },
]);
const folder = tempFolder();
const file = join(folder, 'weights.safetensors');
beforeAll(() => writeSynthetic(file, layout, { seed: 21 }));

const ports: readonly Port[] = [
  { name: 'x', value: (g) => g.input('x', [IMAGES, WIDTH]) },
  { name: 'factor', value: (g) => g.input('factor', [IMAGES, 1]) },
];

/** Each stage is two chains over the same weights, one for each layout. */
function stagesOf(dtype: LinearChain['dtype'], path = file): readonly Stage[] {
  const checkpoint = Checkpoint.open(path);
  return OUT.map((out, i) => {
    const [first, second] = [checkpoint.tensor(`${i}.in`, [BETWEEN, WIDTH]), checkpoint.tensor(`${i}.out`, [out, BETWEEN])];
    const common = { input: 'x', rank: RANK, dtype } as const;
    return chainStage(`stage ${i}`, ports, [
      { ...common, name: `${i} A`, layers: [{ weight: first }, { weight: second }], factor: 'factor', images: 'below' },
      { ...common, name: `${i} B`, layers: [{ weight: first }, { weight: second }], images: 'beside' },
    ]);
  }); // prettier-ignore
}

function stateOf(images: number): TensorMap {
  const next = mulberry32(4);
  const all = { x: WIDTH, factor: 1 };
  const rows = Array.from({ length: images }, () =>
    Object.values(all).map((width) => Float32Array.from({ length: width }, () => 2 * next() - 1)),
  );
  return Object.fromEntries(
    Object.entries(all).map(([name, width], at) => {
      const data = new Float32Array(images * width);
      rows.forEach((row, image) => data.set(row[at] as Float32Array, image * width));
      return [name, { data, dims: [images, width] }];
    }),
  );
}

type Results = ReadonlyMap<string, HostTensor>;

function planOf(stages: readonly Stage[], images: number, work: NetworkPlan['work']): NetworkPlan {
  const costs = stageCosts(stages, { fusedAttention: true, weightsAs: 'fed' });
  const asked = work === 'chains' ? costs : costs.map((cost) => ({ ...cost, chainBytes: undefined }));
  const plan = planNetwork({ ...PLAN_REQUEST, images, wholeBatch: true, threads: 2, costs: asked });
  expect(plan.work).toBe(work);
  // So few bytes would be one group.
  const groups = stages.map((_, first) => ({ first, count: 1, waitsFor: -1, weightBytes: 1, peakBytes: 1 }));
  return { ...plan, groups };
}

async function run(stages: readonly Stage[], plan: NetworkPlan, state = stateOf(plan.images)): Promise<Results> {
  const results = new Map<string, HostTensor>();
  const sink: NetworkRun['sink'] = (name, { data, dims }) => void results.set(name, { data: data.slice(), dims });
  await runNetwork(testRun({ stages, plan, load: () => structuredClone(state), sink }).run);
  return results;
}

function valuesOf({ data }: HostTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  return new Float32Array(Uint32Array.from(data as Uint16Array, (bits) => bits << 16).buffer);
}

describe('chains without the runtime give what their graphs give', () => {
  test.each([1, 2, 3, 5, 6, 11])('%i images', async (images) => {
    const stages = stagesOf('BF16');
    const got = await run(stages, planOf(stages, images, 'chains'));
    const exact = stagesOf('F32');
    const wanted = await run(exact, planOf(exact, images, 'graphs'));
    expect([...got.keys()]).toEqual([...wanted.keys()]);
    for (const [name, tensor] of wanted) {
      const [values, others] = [valuesOf(got.get(name) as HostTensor), valuesOf(tensor)];
      expect(got.get(name)?.dims, name).toEqual(tensor.dims);
      expect(others.some((value) => Math.abs(value) > 1e-3)).toBe(true);
      // Half of the last bit of bf16.
      others.forEach((value, i) => expect(Math.abs((values[i] as number) - value)).toBeLessThanOrEqual(2 ** -8 * Math.abs(value) + 1e-7));
    }
  }); // prettier-ignore

  test('also what is not finite', async () => {
    const stages = stagesOf('BF16');
    const state = stateOf(2);
    (state['x'] as HostTensor).data[WIDTH + 3] = Number.NaN;
    (state['factor'] as HostTensor).data[0] = Infinity;
    const kinds = async (work: NetworkPlan['work']): Promise<unknown> => {
      const results = await run(stages, planOf(stages, 2, work), state);
      return [...results].map(([name, tensor]) => [
        name,
        [...valuesOf(tensor)].map((value) => (Number.isFinite(value) ? 0 : value)),
      ]);
    };
    expect(await kinds('chains')).toEqual(await kinds('graphs'));
  });
});

test('an image’s results are the same bits alone and among others, and with any number of lanes', async () => {
  const stages = stagesOf('BF16');
  const plan = planOf(stages, 7, 'chains');
  const together = await run(stages, plan);
  const alone = await run(stages, planOf(stages, 1, 'chains'));
  for (const [i, out] of OUT.entries()) {
    const [a, b] = [together.get(`${i} A`) as HostTensor, together.get(`${i} B`) as HostTensor];
    expect([a.dims, b.dims]).toEqual([[7 * RANK, out / RANK], [out / RANK, 7 * RANK]]); // prettier-ignore
    expect(a.data.subarray(0, out)).toEqual(alone.get(`${i} A`)?.data);
    expect([...b.data].filter((_, at) => at % (7 * RANK) < RANK)).toEqual([...(alone.get(`${i} B`)?.data ?? [])]);
  }
  expect(await run(stages, { ...plan, lanes: 3 })).toEqual(together);
});

test('pieces of any size, and memory that grows on the way, give the same bits', () => {
  const checkpoint = Checkpoint.open(file);
  const layers = [checkpoint.tensor('0.in', [BETWEEN, WIDTH]), checkpoint.tensor('1.out', [OUT[1] ?? 0, BETWEEN])] as const;
  const common = { input: 'x', layers: [{ weight: layers[0] }, { weight: layers[1] }], rank: RANK, dtype: 'BF16' } as const;
  const chains = (['below', 'beside'] as const).map((images): LinearChain => ({ ...common, name: images, images }));
  const files = new OpenFiles();
  afterAll(() => files.close());
  /** @param free bytes that the memory has */
  const run = (readBytes: number, free: number, images: number): { results: Record<string, HostTensor>; rows: number[]; hasGrown: boolean } => {
    const runner = new ChainRunner();
    runner.memory.take(free);
    const before = runner.memory.buffer.byteLength;
    const rows: number[] = [];
    const read: ReadRows = (weight, first, target) => {
      const rowBytes = 2 * (weight.shape[1] ?? 0);
      rows.push(target.length / rowBytes);
      files.read(weight.file, weight.offset + rowBytes * first, target);
    };
    const results = runner.run(chains, stateOf(images), { read, readBytes }, new ArrayBuffer(resultBytes(chains, images)));
    return { results, rows, hasGrown: runner.memory.buffer.byteLength > before };
  };
  const counts = Array.from({ length: 20 }, (_, i) => 150 + 40 * i);
  for (const images of counts) {
    const roomy = run(MOST_READ_BYTES, 16 * MIB, images);
    expect([roomy.hasGrown, roomy.rows]).toEqual([false, [BETWEEN, 120, BETWEEN, 120]]);
    const tight = run(1, 0, images);
    expect(tight.hasGrown).toBe(true);
    expect(tight.results).toEqual(roomy.results);
  }
  // So many images that results take more than a piece; where they lie beside each other, a piece has whole ranks.
  expect(run(1, 0, 3000).rows).toEqual([BETWEEN, 43, 43, 34, BETWEEN, 42, 42, 36]);
}); // prettier-ignore

test('other types, and what is added, are left to graphs', () => {
  const bytesOf = (stages: readonly Stage[]): unknown[] => stageCosts(stages).map(({ chainBytes }) => typeof chainBytes);
  expect(bytesOf(stagesOf('BF16'))).toEqual(['object', 'object', 'object']);
  for (const dtype of ['F32', 'F16'] as const) expect(bytesOf(stagesOf(dtype))).toEqual(Array(3).fill('undefined'));
  const full = join(folder, 'f32.safetensors');
  writeSynthetic(full, layout, { seed: 1, dtype: 'F32' });
  expect(bytesOf(stagesOf('BF16', full))).toEqual(Array(3).fill('undefined'));
  const first = Checkpoint.open(file).tensor('0.in', [BETWEEN, WIDTH]);
  const chain: LinearChain = {
    name: 'sum',
    input: 'x',
    layers: [{ weight: first, add: 'residual' }],
    rank: 1,
    images: 'below',
    dtype: 'BF16',
  };
  const residual: Port = { name: 'residual', value: (g) => g.input('residual', [IMAGES, BETWEEN]) };
  expect(bytesOf([chainStage('sum', [...ports, residual], [chain])])).toEqual(['undefined']);
});

test('a file that was cut off, or has gone, is named with its stage', async () => {
  const path = join(folder, 'cut.safetensors');
  writeSynthetic(path, layout, { seed: 2 });
  const stages = stagesOf('BF16', path);
  truncateSync(path, 8000);
  const cut = await rejectionOf(run(stages, planOf(stages, 1, 'chains')));
  expect(cut).toMatchObject({ code: 'FILE_UNREADABLE', fields: { file: path } });
  rmSync(path);
  const gone = await rejectionOf(run(stages, planOf(stages, 1, 'chains')));
  expect(gone).toMatchObject({ code: 'FILE_NOT_FOUND', fields: { file: path, stage: 'stage 0' } });
});

test('state of another shape is an error and no product of what lies behind it', async () => {
  const stages = stagesOf('BF16');
  const short = { ...stateOf(3), factor: { data: Float32Array.of(1, 1), dims: [2, 1] } };
  const error = await rejectionOf(run(stages, planOf(stages, 3, 'chains'), short));
  expect(error).toMatchObject({ code: 'INTERNAL', fields: { name: 'factor', stage: 'stage 0' } });
});
