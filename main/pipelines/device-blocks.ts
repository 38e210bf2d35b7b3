import type { TensorMap } from '../contract/tensor.ts';
import { dinov3, dinov3Stages, type Dinov3Config } from '../networks/dinov3.ts';
import { factorState, i2lStages, tokensState } from '../networks/i2l-stages.ts';
import { i2l, readExpert, type I2lConfig } from '../networks/i2l.ts';
import { layoutOf } from '../networks/network.ts';
import { DROPPED_TOKENS } from '../networks/qwen25vl-prompt.ts';
import { qwen25vl, qwen25vlStages, type Qwen25vlConfig } from '../networks/qwen25vl.ts';
import type { Scope } from '../networks/scope.ts';
import { siglip2, siglip2Stages, type Siglip2Config } from '../networks/siglip2.ts';
import type { Stage } from '../offload/stage.ts';
import type { Layout } from '../weights/fingerprint.ts';
import { mulberry32 } from '../weights/synthetic.ts';

/** A small network of one kind: what a device has to compute as the CPU does before it is used. */
export interface DeviceBlock {
  readonly name: string;
  readonly layout: Layout;
  readonly stages: (scope: Scope) => readonly Stage[];
  readonly inputs: () => TensorMap;
}

/** 69 tokens: more than one workgroup's; with 21, a wrong attention on WebGPU passed. */
const dinov3Small: Dinov3Config = {
  layers: 1, width: 64, heads: 2, mlpWidth: 128, patch: 16, registers: 4, imageSize: 128, ropeTheta: 100, epsilon: 1e-5,
}; // prettier-ignore
const siglip2Small: Siglip2Config = { layers: 1, width: 64, heads: 4, mlpWidth: 128, patch: 16, imageSize: 128, epsilon: 1e-6 };
const qwenSmall: Qwen25vlConfig = {
  layers: 1, width: 64, heads: 4, keyValueWidth: 32, mlpWidth: 128, vocabulary: 80, epsilon: 1e-6, ropeTheta: 1e6,
  ropeSections: [2, 3, 3],
  visionLayers: 2, visionWidth: 64, visionHeads: 4, visionMlpWidth: 96, patch: 14, window: 56, fullAttention: [1],
}; // prettier-ignore
const QWEN_SIDE = 112;
const expertSmall: I2lConfig = {
  target: 'qwen-image', hidden: 48, blocks: 1, width: 64, compress: 16, rank: 4,
  residual: { tokens: 6, width: 32, reduced: 8 },
}; // prettier-ignore

const EXPERT = 'expert';

function expertStages(scope: Scope): readonly Stage[] {
  const expert = { name: EXPERT, config: expertSmall, blocks: readExpert(scope, expertSmall) };
  return i2lStages({ experts: [expert], statics: [] }, 'F32');
}

/** One of each kind of network. */
export const DEVICE_BLOCKS: readonly DeviceBlock[] = [
  {
    name: 'siglip2',
    layout: layoutOf(siglip2, siglip2Small),
    stages: (scope) => siglip2Stages(scope, siglip2Small).stages,
    inputs: () => ({ pixels: random([2, 3, 128, 128], 1) }),
  },
  {
    name: 'dinov3',
    layout: layoutOf(dinov3, dinov3Small),
    stages: (scope) => dinov3Stages(scope, dinov3Small).stages,
    inputs: () => ({ pixels: random([1, 3, 128, 128], 2) }),
  },
  {
    name: 'qwen2.5-vl',
    layout: layoutOf(qwen25vl, qwenSmall),
    stages: (scope) => qwen25vlStages(scope, qwenSmall, [{ name: 'low', side: QWEN_SIDE }], prompt()).stages,
    inputs: () => ({ patches: random([1, (QWEN_SIDE / 14) ** 2, 3 * 2 * 14 * 14], 3) }),
  },
  {
    name: 'expert',
    layout: layoutOf(i2l, expertSmall),
    stages: expertStages,
    inputs: () => ({
      embedding: random([2, 64], 4),
      [factorState(EXPERT)]: random([2, 1], 5),
      [tokensState(EXPERT)]: random([2, 6, 32], 6),
    }),
  },
];

/** Large enough that a GPU that is worth its while is ahead of the CPU: 1 GFLOP, where a call's cost counts for little. */
const dinov3Large: Dinov3Config = {
  layers: 1, width: 512, heads: 8, mlpWidth: 2048, patch: 16, registers: 4, imageSize: 192, ropeTheta: 100, epsilon: 1e-5,
}; // prettier-ignore

/** What devices are timed with. */
export const TIMED_BLOCK: DeviceBlock = {
  name: 'dinov3 of width 512',
  layout: layoutOf(dinov3, dinov3Large),
  stages: (scope) => dinov3Stages(scope, dinov3Large).stages,
  inputs: () => ({ pixels: random([1, 3, 192, 192], 7) }),
};

/** The tokens are other ones than the published: the vocabulary is small. */
function prompt(): { before: number[]; after: number[] } {
  const before = Array.from({ length: DROPPED_TOKENS + 2 }, (_, i) => (i * 7) % qwenSmall.vocabulary);
  return { before, after: [1, 2, 3] };
}

function random(dims: readonly number[], seed: number): TensorMap[string] {
  const next = mulberry32(seed);
  const length = dims.reduce((product, dim) => product * dim, 1);
  return { data: Float32Array.from({ length }, () => 2 * next() - 1), dims };
}
