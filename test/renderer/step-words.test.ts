import { describe, expect, test } from 'vitest';
import { EXPERTS } from '../../main/contract/experts.ts';
import { en } from '../../renderer/src/i18n/en/index.ts';
import { zh } from '../../renderer/src/i18n/zh/index.ts';
import { kindWords } from '../../renderer/src/views/queue/job-kind.ts';
import { stepWords } from '../../renderer/src/views/queue/step-words.ts';

describe('what a job does now', () => {
  test.each([
    ['siglip2', 'SigLIP2 reads the images', 'SigLIP2 正在读取图片'],
    ['qwen2.5-vl to 8 bits', 'Making an 8-bit copy of Qwen2.5-VL', '正在制作 Qwen2.5-VL 的 8 位副本'],
    ['style', 'Writing the LoRA: Style', `正在写入 LoRA：${zh.create.expertNames.style}`],
    [
      EXPERTS.join(' + '),
      'Writing the LoRA: Style + Coarse + Fine + Bias',
      `正在写入 LoRA：${EXPERTS.map((name) => zh.create.expertNames[name]).join(' + ')}`,
    ],
    ['verify', 'Checking files', '正在校验文件'],
  ])('%s', (step, english, chinese) => {
    expect(stepWords({ step, stage: '' }, en)).toBe(english);
    expect(stepWords({ step, stage: '' }, zh)).toBe(chinese);
  });

  test.each(['dinov3-7b', 'toString', 'a + b', ''])('%j is said as it is', (step) => {
    for (const dictionary of [en, zh]) expect(stepWords({ step, stage: '' }, dictionary)).toBe(step);
  });

  test('a file is named, a stage of a network is not', () => {
    expect(stepWords({ step: 'verify', stage: '/models/a.safetensors' }, en)).toBe('Checking files, /models/a.safetensors');
    expect(stepWords({ step: 'dinov3-7b', stage: 'a.safetensors' }, zh)).toBe('dinov3-7b，a.safetensors');
    expect(stepWords({ step: 'dinov3', stage: 'dinov3.layer.3 mlp' }, en)).toBe('DINOv3 reads the images');
  });
});

test('jobs of the same title differ by their kind, in both languages; one of another version says nothing', () => {
  expect([kindWords({ kind: 'create' }, en.queue), kindWords({ kind: 'spectrum' }, zh.queue)]).toEqual(['Create', '奇异值']);
  expect(kindWords({ kind: 'made-up' }, en.queue)).toBe('');
});
