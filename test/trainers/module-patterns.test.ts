import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { layerNames } from '../../main/trainers/ai-toolkit.ts';
import { targetModules } from '../../main/trainers/diffsynth.ts';
import { modulePattern, namesInAllBlocks } from '../../main/trainers/module-patterns.ts';
import { networkArgs } from '../../main/trainers/musubi.ts';
import { MODELS, TAKEN } from './layers.ts';

describe.each(MODELS.map((model) => [model.target.id, model] as const))('%s', (_id, { target, layers, experts }) => {
  const check = (modules: readonly string[]): void => {
    const sorted = [...modules].sort();
    const taken = {
      diffsynth: TAKEN.diffsynth(targetModules({ target, modules }), layers),
      aiToolkit: TAKEN.aiToolkit(layerNames({ target, modules }), layers),
      oneTrainer: TAKEN.oneTrainer(modulePattern(target, modules), layers),
    };
    for (const [trainer, found] of Object.entries(taken)) expect(found.sort(), trainer).toEqual(sorted);
    const inBlocks = sorted.filter((path) => /\.\d+\./.test(path));
    if (inBlocks.length > 0) expect(TAKEN.musubi(networkArgs({ target, modules }), layers).sort(), 'musubi').toEqual(inBlocks);
  };

  test("an expert's LoRA: every trainer takes its modules and no other", () => {
    check(experts);
  });

  test('any part of it, or of the whole model', () => {
    fc.assert(fc.property(fc.subarray([...layers], { minLength: 1, maxLength: 40 }), check), { numRuns: 60 });
  });

  test('some names in all blocks, or all names in some', () => {
    const names = [...new Set(experts.map((path) => path.replace(/^\w+\.\d+\./, '')))];
    fc.assert(
      fc.property(fc.subarray(names, { minLength: 1 }), fc.integer({ min: 1, max: 70 }), (some, below) => {
        check(experts.filter((path) => some.some((name) => path.endsWith(`.${name}`))));
        check(experts.filter((path) => Number(/\.(\d+)\./.exec(path)?.[1]) < below));
      }),
      { numRuns: 40 },
    );
  });

  test('a pattern is short for what experts make, and safe in every shell and format', () => {
    const pattern = modulePattern(target, experts);
    expect(pattern.length).toBeLessThan(350);
    expect(pattern).toMatch(/^[\w^$.()|[\]+-]+$/);
  });

  test('order and repetition change nothing', () => {
    expect(namesInAllBlocks(target, experts.toReversed())?.toSorted()).toEqual(namesInAllBlocks(target, experts)?.toSorted());
    expect(namesInAllBlocks(target, experts.slice(1))).toBeUndefined();
  });
});

test("DiffSynth's targets are those of its own scripts", () => {
  const [qwen, z] = MODELS.map(({ target, experts }) => targetModules({ target, modules: experts }).split(',').sort());
  const published =
    'to_q,to_k,to_v,add_q_proj,add_k_proj,add_v_proj,to_out.0,to_add_out,img_mlp.net.2,img_mod.1,txt_mlp.net.2,txt_mod.1';
  expect(qwen).toEqual(published.split(',').sort());
  expect(z).toEqual('to_q,to_k,to_v,to_out.0,w1,w2,w3'.split(',').sort());
});
