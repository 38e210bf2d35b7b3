import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { planJob, planJobOf, type PlanChoice } from '../../main/pipelines/plan.ts';
import { sparseModel } from '../models/sparse-models.ts';
import { thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const models = join(tempFolder(), 'models');
beforeAll(() => {
  for (const id of ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-style']) sparseModel(join(models, id, 'model.safetensors'), id);
});

const choice: PlanChoice = {
  ...{ models, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }], dtype: 'bf16', memory: 1.5 * 2 ** 30, stays: true },
};

test('a batch of more images than fit into memory at once goes through the encoders in several passes', () => {
  const one = planJob({ ...choice, images: 10 });
  const many = planJobOf(Array.from({ length: 60 }, () => 10), choice); // prettier-ignore
  expect(one.networks.map(({ passes }) => passes)).toEqual([1, 1, 1]);
  const [siglip2, dinov3] = many.networks.map(({ passes }) => passes) as [number, number];
  expect(siglip2).toBeGreaterThan(1);
  expect(dinov3).toBe(siglip2);
  many.networks.forEach(({ weightBytes, passes }, i) => expect(weightBytes).toBe(passes * (one.networks[i]?.weightBytes ?? 0)));
  expect(many.peakBytes).toBeLessThanOrEqual(choice.memory);
  expect(many.seconds).toBeGreaterThan(40 * one.seconds);
  expect(many).toMatchObject({ images: 600, rank: one.rank, outputBytes: 60 * one.outputBytes });
});

test('LoRAs of one job differ in size, and the largest has to fit by itself', () => {
  const estimate = planJobOf([3, 1, 3], choice);
  const [three, one] = [planJob({ ...choice, images: 3 }), planJob({ ...choice, images: 1 })];
  expect(estimate).toMatchObject({ rank: three.rank, images: 7, outputBytes: 2 * three.outputBytes + one.outputBytes });
  expect(estimate.networks.map(({ passes }) => passes)).toEqual([1, 1, 1]);
  const tooMany = thrownBy(() => planJobOf([1, 100_000], choice));
  expect(tooMany).toMatchObject({ code: 'MEMORY_BUDGET', fields: { network: 'style' } });
});
