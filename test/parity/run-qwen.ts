import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import type { Device } from '../../main/contract/devices.ts';
import { recognise } from '../../main/networks/network.ts';
import { qwen25vl, qwen25vlStages, type Qwen25vlStages } from '../../main/networks/qwen25vl.ts';
import type { Prompt } from '../../main/networks/qwen25vl-prompt.ts';
import { CheckpointScope } from '../../main/networks/scope.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import { planNetwork, type NetworkPlan } from '../../main/offload/planner.ts';
import { Reader } from '../../main/offload/reader.ts';
import { stageCosts } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import type { EightBitWeights } from '../../main/onnx/eight-bit.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { modelPath } from './goldens.ts';
import { sharePlan } from './share-plan.ts';

/** The encoder of a golden's folder; for a subset of its resolutions if they are named. */
export function openQwen(folder: string, names?: readonly string[], path = modelPath(folder)): Qwen25vlStages {
  const { sides, ...prompt } = JSON.parse(readFileSync(join(folder, 'prompt.json'), 'utf8')) as Prompt & {
    sides: Record<string, number>;
  };
  const checkpoint = Checkpoint.open(path);
  const { config } = recognise(qwen25vl, checkpoint, join(folder, 'config.json'));
  const resolutions = (names ?? Object.keys(sides)).map((name) => ({ name, side: sides[name] ?? 0 }));
  return qwen25vlStages(new CheckpointScope(checkpoint), config, resolutions, prompt);
}

export interface QwenOptions {
  readonly device?: Device;
  readonly eightBit?: EightBitWeights;
  /** Each stage in shares. */
  readonly shared?: boolean;
}

/** Runs it over pictures' patches, by resolution. @returns tokens by resolution, [n, tokens, width] */
export async function encodeQwen(
  { stages, pictures, patchValues, width }: Qwen25vlStages,
  patches: Readonly<Record<string, Float32Array>>,
  budget: number,
  { device = 'cpu', eightBit, shared = false }: QwenOptions = {},
): Promise<{ tokens: Record<string, Float32Array>; plan: NetworkPlan }> {
  const all = pictures.reduce((sum, picture) => sum + picture.patches, 0);
  const [some] = pictures;
  const images = (patches[some?.name ?? '']?.length ?? 0) / ((some?.patches ?? 1) * patchValues);
  const costs = stageCosts(stages, { fusedAttention: true, eightBit });
  const feeds = device === 'cpu' && !eightBit;
  const request = { network: 'test', costs, images, budget, baseline: 0, wholeBatch: false, threads: 1, feeds };
  const plan = shared ? sharePlan(stages, request) : planNetwork(request);
  const tokens = Object.fromEntries(pictures.map((picture) => [picture.name, new Float32Array(images * picture.tokens * width)]));
  /** One image's patches at all resolutions. */
  const imagePatches = (image: number): number[] =>
    pictures.flatMap((picture) => {
      const size = picture.patches * patchValues;
      return [...(patches[picture.name] ?? []).slice(image * size, (image + 1) * size)];
    });
  const trace = new Trace();
  const reader = new Reader(trace);
  await runNetwork({
    stages,
    plan,
    session: { device, threads: 2 },
    eightBit,
    load: ({ first, count }) => ({
      patches: {
        data: Float32Array.from(Array.from({ length: count }, (_, i) => imagePatches(first + i)).flat()),
        dims: [count, all, patchValues],
      },
    }),
    sink: (name, { data }, { first }) => {
      const picture = pictures.find((candidate) => candidate.name === name);
      tokens[name]?.set(data as Float32Array, first * (picture?.tokens ?? 0) * width);
    },
    onGroup: () => undefined,
    signal: new AbortController().signal,
    reader,
    trace,
  });
  await reader.close();
  return { tokens, plan };
}
