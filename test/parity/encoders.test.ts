import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { HostTensor } from '../../main/contract/tensor.ts';
import { dinov3, dinov3Stages } from '../../main/networks/dinov3.ts';
import { recognise, type EncoderStages } from '../../main/networks/network.ts';
import { CheckpointScope } from '../../main/networks/scope.ts';
import { siglip2, siglip2Stages } from '../../main/networks/siglip2.ts';
import { runNetwork } from '../../main/offload/executor.ts';
import { planNetwork } from '../../main/offload/planner.ts';
import { Reader } from '../../main/offload/reader.ts';
import { stageCosts } from '../../main/offload/stage.ts';
import { Trace } from '../../main/offload/trace.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { goldenCases, goldenFolder, modelPath, readAll, relativeError } from './goldens.ts';

/** Tighter than the promised 1e-4: the exact GELU in place of its tanh form would show only above this. */
const BAR = 2e-5;

function stagesOf(network: 'siglip2' | 'dinov3', folder: string): EncoderStages {
  const checkpoint = Checkpoint.open(modelPath(folder));
  const config = join(folder, 'config.json');
  const scope = new CheckpointScope(checkpoint);
  if (network === 'siglip2') return siglip2Stages(scope, recognise(siglip2, checkpoint, config).config);
  return dinov3Stages(scope, recognise(dinov3, checkpoint, config).config);
}

/** @param budget bytes: a small one runs each stage by itself and one image at a time */
async function encode({ stages, imageSize, width }: EncoderStages, pixels: Float32Array, budget: number): Promise<Float32Array> {
  const perImage = 3 * imageSize ** 2;
  const images = pixels.length / perImage;
  const costs = stageCosts(stages);
  const plan = planNetwork({ network: 'test', costs, images, budget, baseline: 0, wholeBatch: false });
  const embeddings = new Float32Array(images * width);
  const trace = new Trace();
  const reader = new Reader(trace);
  await runNetwork({
    stages,
    plan,
    session: { device: 'cpu', threads: 2 },
    load: ({ first, count }) => ({
      pixels: { data: pixels.slice(first * perImage, (first + count) * perImage), dims: [count, 3, imageSize, imageSize] },
    }),
    sink: (_name, tensor: HostTensor, { first }) => embeddings.set(tensor.data as Float32Array, first * width),
    onGroup: () => undefined,
    signal: new AbortController().signal,
    reader,
    trace,
  });
  await reader.close();
  return embeddings;
}

describe.each(['siglip2', 'dinov3'] as const)('%s against transformers', (network) => {
  test.each(goldenCases(network))('%s', async (name) => {
    const folder = goldenFolder(network, name);
    const golden = readAll(join(folder, 'expected.safetensors'));
    const pixels = golden.get('pixel_values')?.values ?? new Float32Array();
    const wanted = golden.get('embedding')?.values ?? new Float32Array();
    const encoder = stagesOf(network, folder);
    const smallest = Math.max(
      ...stageCosts(encoder.stages).map((cost) =>
        planNetwork({ network, costs: [cost], images: wanted.length / encoder.width, budget: Infinity, baseline: 0, wholeBatch: false }).peakBytes,
      ),
    );
    expect(relativeError(await encode(encoder, pixels, 1 << 30), wanted)).toBeLessThan(BAR);
    expect(relativeError(await encode(encoder, pixels, smallest), wanted)).toBeLessThan(BAR);
  });
});
