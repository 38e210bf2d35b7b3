import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dinov3, type Dinov3Config } from '../networks/dinov3.ts';
import { i2l, type I2lConfig } from '../networks/i2l.ts';
import { layoutOf } from '../networks/network.ts';
import { siglip2, type Siglip2Config } from '../networks/siglip2.ts';
import type { Layout } from '../weights/fingerprint.ts';
import { writeSynthetic } from '../weights/synthetic.ts';

/**
 * The demo's models: the published architectures, tiny, with random weights. They show that the whole way
 * from images to a LoRA file works on this machine; what they make has no meaning. The target has its full
 * size, so that other programs load the LoRA.
 */
const siglip2Tiny: Siglip2Config = { layers: 2, width: 64, heads: 4, mlpWidth: 128, patch: 16, imageSize: 384, epsilon: 1e-6 };
const dinov3Tiny: Dinov3Config = {
  layers: 2, width: 96, heads: 4, mlpWidth: 192, patch: 16, registers: 4, imageSize: 224, ropeTheta: 100, epsilon: 1e-5,
}; // prettier-ignore
const styleTiny: I2lConfig = { target: 'qwen-image', hidden: 3072, blocks: 60, width: 64 + 96, compress: 2, rank: 4 };

const SEED = 2025;

interface DemoModel {
  readonly id: string;
  readonly layout: Layout;
  /** What the tensors' shapes don't say. */
  readonly config: object;
}

function demoModels(): readonly DemoModel[] {
  return [
    {
      id: 'siglip2-g384',
      layout: layoutOf(siglip2, siglip2Tiny),
      config: { model_type: 'siglip_vision_model', num_attention_heads: siglip2Tiny.heads, layer_norm_eps: siglip2Tiny.epsilon },
    },
    {
      id: 'dinov3-7b',
      layout: layoutOf(dinov3, dinov3Tiny),
      config: { model_type: 'dinov3_vit', num_attention_heads: dinov3Tiny.heads, image_size: dinov3Tiny.imageSize },
    },
    { id: 'qwen-image-i2l-style', layout: layoutOf(i2l, styleTiny), config: { rank: styleTiny.rank } },
  ];
}

/** Makes the demo's models in a folder that --models takes; the same bytes every time. */
export function makeDemoModels(folder: string, onModel: (id: string) => void): void {
  for (const [at, { id, layout, config }] of demoModels().entries()) {
    onModel(id);
    const own = join(folder, id);
    mkdirSync(own, { recursive: true });
    writeFileSync(join(own, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    writeSynthetic(join(own, 'model.safetensors'), layout, { seed: SEED + at });
  }
}
