import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { targetBlocks } from '../../main/lora/targets.ts';
import { expertTarget, i2l, type I2lConfig } from '../../main/networks/i2l.ts';
import { layoutOf } from '../../main/networks/network.ts';
import { qwen25vl, type Qwen25vlConfig } from '../../main/networks/qwen25vl.ts';
import type { Layout } from '../../main/weights/fingerprint.ts';
import { makeTinyModels, styleTiny, writeRandom } from './tiny-models.ts';

/** Qwen2.5-VL with its whole vocabulary, since the prompt's ids are the published ones, and a few channels. */
export const qwenTiny: Qwen25vlConfig = {
  layers: 1, width: 12, heads: 2, keyValueWidth: 6, mlpWidth: 16, vocabulary: 151936, epsilon: 1e-6,
  ropeTheta: 1e6, ropeSections: [1, 1, 1],
  visionLayers: 2, visionWidth: 16, visionHeads: 2, visionMlpWidth: 20, patch: 14, window: 112, fullAttention: [1],
}; // prettier-ignore
const LOW_TOKENS = 8 * 8 + 7;
const HIGH_TOKENS = 37 * 37 + 7;
export const coarseTiny: I2lConfig = { ...styleTiny, compress: 3, residual: { tokens: LOW_TOKENS, width: 12, reduced: 4 } };
export const fineTiny: I2lConfig = { ...styleTiny, compress: 3, residual: { tokens: HIGH_TOKENS, width: 12, reduced: 2 } };
export const zImageTiny: I2lConfig = { ...styleTiny, target: 'z-image', feedForward: 40, refiners: 1 };
export const BIAS_RANK = 3;

/** All experts of both targets and their encoders, in sub-folders by their ids. */
export function makeTinyExperts(folder: string): string {
  makeTinyModels(folder);
  const { heads, ropeSections, visionHeads, fullAttention } = qwenTiny;
  const qwenJson = {
    num_attention_heads: heads,
    rope_scaling: { mrope_section: ropeSections },
    vision_config: { num_heads: visionHeads, fullatt_block_indexes: fullAttention },
  };
  write(folder, 'qwen2.5-vl-7b', layoutOf(qwen25vl, qwenTiny), qwenJson);
  write(folder, 'qwen-image-i2l-coarse', layoutOf(i2l, coarseTiny));
  write(folder, 'qwen-image-i2l-fine', layoutOf(i2l, fineTiny));
  write(folder, 'z-image-i2l-style', layoutOf(i2l, zImageTiny));
  write(folder, 'qwen-image-i2l-bias', biasLayout());
  return folder;
}

/** A static LoRA of all modules, in the reference's keys. */
function biasLayout(): Layout {
  const modules = targetBlocks(expertTarget(styleTiny)).flatMap((block) => block.modules);
  return modules.flatMap(({ path, in: inner, out }) => [
    { name: `${path}.lora_A.default.weight`, shape: [BIAS_RANK, inner] },
    { name: `${path}.lora_B.default.weight`, shape: [out, BIAS_RANK] },
  ]);
}

function write(folder: string, id: string, layout: Layout, config: object = {}): void {
  const own = join(folder, id);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, 'config.json'), `${JSON.stringify(config)}\n`);
  writeRandom(join(own, 'model.safetensors'), layout, id.length);
}
