import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { ByteRange } from '../../main/contract/tensor.ts';
import { joinStages, neededAfter, stageCosts, type Stage } from '../../main/offload/stage.ts';
import type { GraphCost } from '../../main/onnx/cost.ts';
import { IMAGES, type Graph, type GraphOptions } from '../../main/onnx/graph.ts';
import { copiesOf } from '../../main/pipelines/eight-bit-copies.ts';
import { openModels } from '../../main/pipelines/open-models.ts';
import { sparseModel } from '../models/sparse-models.ts';
import { tempFolder } from '../unit/temp.ts';

/** Layers that are alike are costed once, and each as if it had been built by itself. */
const folder = tempFolder();
const models = join(folder, 'models');
const IDS = ['siglip2-g384', 'dinov3-7b', 'qwen2.5-vl-7b', 'qwen-image-i2l-style', 'qwen-image-i2l-coarse', 'qwen-image-i2l-fine'];
beforeAll(() => IDS.forEach((id) => sparseModel(join(models, id, 'model.safetensors'), id)));

interface Weighed extends Omit<GraphCost, 'weights'> {
  /** By file and type: a product that is built in pieces names each piece. */
  readonly bytes: Readonly<Record<string, number>>;
}

function weigh({ weights, flops, live, inputBytes, results }: GraphCost): Weighed {
  const bytes: Record<string, number> = {};
  for (const range of weights as readonly (ByteRange & { readonly dtype?: string })[]) {
    const kind = `${range.file} ${range.dtype}`;
    bytes[kind] = (bytes[kind] ?? 0) + range.length;
  }
  return { flops, live, inputBytes, results, bytes };
}

/** In turn, and not all at once, since the lists are long. */
function expectSameCosts(stages: readonly Stage[], options: GraphOptions): void {
  const needed = neededAfter(stages);
  const costs = stageCosts(stages, options);
  for (const [i, stage] of stages.entries()) {
    const { id, ...cost } = costs[i] ?? expect.unreachable();
    expect(weigh(cost), id).toEqual(weigh(joinStages([stage], needed(i), options).graph.cost()));
  }
}

describe('of the published models', () => {
  const experts = (['style', 'coarse', 'fine'] as const).map((name) => ({ name, strength: 1 }));
  const open = (): ReturnType<typeof openModels> => openModels({ models, target: 'qwen-image', experts });
  const fed = { fusedAttention: true, weightsAs: 'fed' } as const;

  test.each(['siglip2', 'dinov3', 'qwen2.5-vl'])('%s, as a whole, in shares and in 8 bits', (name) => {
    const { encoders } = open();
    const copies = copiesOf(encoders, { folder: join(folder, 'copies') });
    const encoder = encoders.find((one) => one.name === name) ?? expect.unreachable();
    expectSameCosts(encoder.stages, fed);
    expectSameCosts(encoder.stages, { ...fed, share: { index: 0, of: 2 } });
    const eightBit = copies.get(encoder)?.weights;
    expectSameCosts(encoder.stages, { ...fed, eightBit });
    expectSameCosts(encoder.stages, { ...fed, eightBit, share: { index: 0, of: 2 } });
  });

  test.each(['BF16', 'F32'] as const)('the experts side by side, to %s', (dtype) => {
    expectSameCosts(open().decoder.stages(dtype), fed);
  });
});

describe('of a few layers', () => {
  const SIDE = 2048;
  const layer = (i: number, dtype: 'BF16' | 'F32' = 'BF16', change?: (g: Graph) => void): Stage => ({
    id: `layer ${i}`,
    takes: [{ name: 'x', value: (g) => g.input('x', [IMAGES, SIDE]) }],
    build: (g, take) => {
      change?.(g);
      const length = SIDE * SIDE * (dtype === 'F32' ? 4 : 2);
      const weight = { name: `${i}`, dtype, shape: [SIDE, SIDE], file: 'weights', offset: i * 4 * SIDE * SIDE, length } as const;
      return { state: { x: g.linear(take('x'), weight) } };
    },
  });

  test('those that are alike are built as they run once', () => {
    let built = 0;
    const stages = Array.from({ length: 9 }, (_, i) => layer(i, 'BF16', () => built++));
    // The last gives its state to nobody.
    stageCosts([...stages, layer(9)], { fusedAttention: true });
    expect(built).toBe(9 + 1);
  });

  test('one of another type, or one that nobody takes from, is none of them', () => {
    const stages = [layer(0), layer(1, 'F32'), layer(2), layer(3)];
    expectSameCosts(stages, { fusedAttention: true, weightsAs: 'fed' });
    const [first, other, alike, last] = stageCosts(stages, { fusedAttention: true, weightsAs: 'fed' });
    expect(other?.live).not.toEqual(first?.live);
    expect(last?.results).not.toEqual(first?.results);
    expect(alike?.live).toEqual(first?.live);
    expect(alike?.weights).not.toEqual(first?.weights);
  });
});
