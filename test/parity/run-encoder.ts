import { join } from 'node:path';
import { dinov3, dinov3Stages } from '../../main/networks/dinov3.ts';
import { recognise, type EncoderStages } from '../../main/networks/network.ts';
import { CheckpointScope } from '../../main/networks/scope.ts';
import { siglip2, siglip2Stages } from '../../main/networks/siglip2.ts';
import type { Device } from '../../main/contract/devices.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import { planNetwork } from '../../main/offload/planner.ts';
import { Reader } from '../../main/offload/reader.ts';
import { stageCosts } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { modelPath } from './goldens.ts';
import { sharePlan } from './share-plan.ts';

export const ENCODERS = ['siglip2', 'dinov3'] as const;
export type Encoder = (typeof ENCODERS)[number];

/** The encoder of a folder with a checkpoint and its config.json. */
export function openEncoder(network: Encoder, folder: string): EncoderStages {
  const checkpoint = Checkpoint.open(modelPath(folder));
  const config = join(folder, 'config.json');
  const scope = new CheckpointScope(checkpoint);
  if (network === 'siglip2') return siglip2Stages(scope, recognise(siglip2, checkpoint, config).config);
  return dinov3Stages(scope, recognise(dinov3, checkpoint, config).config);
}

/** The least that this many images can be encoded in: each stage by itself, one image at a time. */
export function smallestBudget({ stages }: EncoderStages, images: number): number {
  const request = { network: 'test', images, budget: Infinity, baseline: 0, wholeBatch: false, threads: 1, feeds: false };
  const oneByOne = stageCosts(stages).map(
    (cost) => planNetwork({ ...request, images: 1, costs: [cost] }).peakBytes + cost.stateBytes * (images - 1),
  );
  return Math.max(...oneByOne);
}

/** @param pixels [n, 3, S, S]; @param budget bytes. @returns [n, width] */
export async function encode(
  { stages, imageSize, width }: EncoderStages,
  pixels: Float32Array,
  budget: number,
  { device = 'cpu', shared = false }: { readonly device?: Device; readonly shared?: boolean } = {},
): Promise<Float32Array> {
  const perImage = 3 * imageSize ** 2;
  const images = pixels.length / perImage;
  const costs = stageCosts(stages);
  const feeds = device === 'cpu';
  const request = { network: 'test', costs, images, budget, baseline: 0, wholeBatch: false, threads: 1, feeds };
  const plan = shared ? sharePlan(stages, request) : planNetwork(request);
  const embeddings = new Float32Array(images * width);
  const trace = new Trace();
  const reader = new Reader(trace);
  await runNetwork({
    stages,
    plan,
    session: { device, threads: 2 },
    load: ({ first, count }) => ({
      pixels: { data: pixels.slice(first * perImage, (first + count) * perImage), dims: [count, 3, imageSize, imageSize] },
    }),
    sink: (_name, { data }, { first }) => embeddings.set(data as Float32Array, first * width),
    onGroup: () => undefined,
    signal: new AbortController().signal,
    reader,
    trace,
  });
  await reader.close();
  return embeddings;
}
