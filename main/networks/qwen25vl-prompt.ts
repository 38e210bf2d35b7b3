/**
 * What Qwen2.5-VL is told about the picture: a constant, so that no tokenizer is needed. The text, as
 * DiffSynth-Studio's Image2LoRAEncode has it (with an empty user text), where <|image_pad|> stands for as many tokens as
 * the picture has:
 *
 *   <|im_start|>system
 *   Describe the key features of the input image (color, shape, size, texture, objects, background), then
 *   explain how the user's text instruction should alter or modify the image. Generate a new image that
 *   meets the user's requirements while maintaining consistency with the original input where
 *   appropriate.<|im_end|>
 *   <|im_start|>user
 *   <|vision_start|><|image_pad|><|vision_end|><|im_end|>
 *   <|im_start|>assistant
 *
 * test/unit/qwen-prompt.test.ts proves the ids with a Qwen tokenizer.
 */
export interface Prompt {
  /** Token ids before the picture's own tokens, and after them. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export const PROMPT: Prompt = {
  before: [
    151644, 8948, 198, 74785, 279, 1376, 4419, 315, 279, 1946, 2168, 320, 3423, 11, 6083, 11, 1379, 11, 10434, 11, 6171, 11,
    4004, 701, 1221, 10339, 1246, 279, 1196, 594, 1467, 7600, 1265, 11596, 476, 5602, 279, 2168, 13, 19813, 264, 501, 2168,
    429, 20027, 279, 1196, 594, 8502, 1393, 20337, 28137, 448, 279, 4024, 1946, 1380, 8311, 13, 151645, 198, 151644, 872, 198,
    151652,
  ],
  after: [151653, 151645, 198, 151644, 77091, 198],
}; // prettier-ignore

/** Hidden states of the system prompt and of the user's opening, which are the same for every picture. */
export const DROPPED_TOKENS = 64;
