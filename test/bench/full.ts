import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { i2l } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import { catalogueEntry } from '../../main/weights/catalogue.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { benchDecode, type DecodeOptions } from './decode.ts';
import { bestGemm } from './gemm.ts';
import { judge, measured } from './measure.ts';
import { photographs } from './photographs.ts';

/**
 * The whole job at the published sizes, with synthetic weights: what they say nothing about is the
 * quality of a LoRA; what they cost is the same.
 */
export interface FullOptions extends DecodeOptions {
  readonly styleOnly: boolean;
  readonly folder: string | undefined;
  readonly keep: boolean;
}

export const STYLE = 'qwen-image-i2l-style';
export const ENCODERS = ['siglip2-g384', 'dinov3-7b'];

/** The design's bars that this benchmark can judge. */
const BARS = { bytesRead: 1.02, peakBytes: 1.5 * 2 ** 30, gemmShare: 0.8 } as const;

export async function benchFull({ styleOnly, folder, keep, ...options }: FullOptions): Promise<void> {
  const ids = styleOnly ? [STYLE] : [...ENCODERS, STYLE];
  const models = folder ?? mkdtempSync(join(tmpdir(), 'i2l-bench-'));
  try {
    makeModels(models, ids);
    await benchDecode(models, modelPath(models, STYLE), options);
    if (!styleOnly) await benchCreate(models, options.imageCounts);
  } finally {
    if (!keep) rmSync(models, { recursive: true, force: true });
    else console.log(`kept: ${models}`);
  }
}

export function makeModels(models: string, ids: readonly string[]): void {
  mkdirSync(models, { recursive: true });
  const missing = ids.filter((id) => !existsSync(modelPath(models, id)));
  const bytes = missing.reduce((sum, id) => sum + (catalogueEntry(id).bytes ?? 0), 0);
  const { bavail, bsize } = statfsSync(models);
  console.log(`synthetic checkpoints of the published layouts in ${models}: ${(bytes / 1e9).toFixed(1)} GB to write`);
  if (bavail * bsize < bytes * 1.1 + 1e9)
    throw new Error(`${models} has ${((bavail * bsize) / 1e9).toFixed(1)} GB free; name another folder with --folder`);
  for (const id of missing) {
    const network = ([siglip2, dinov3, i2l] as unknown as Network<unknown>[]).find((candidate) => id in candidate.published);
    if (!network) throw new Error(`no network for ${id}`);
    mkdirSync(join(models, id), { recursive: true });
    writeSynthetic(modelPath(models, id), layoutOf(network, network.published[id]), { seed: 1 });
  }
}

function modelPath(models: string, id: string): string {
  return join(models, id, 'model.safetensors');
}

async function benchCreate(models: string, imageCounts: readonly number[]): Promise<void> {
  for (const count of imageCounts) {
    const images = await photographs(models, count);
    const gemm = await bestGemm();
    const { result, peak, wall } = await measured([
      'create',
      ...images,
      '--models',
      models,
      '--no-cache',
      '-o',
      join(models, 'out.safetensors'),
    ]);
    console.log(
      `create, SigLIP2 + DINOv3-7B + Style, ${count} image${count === 1 ? '' : 's'}: ${wall.toFixed(1)} s; best f32 Gemm ${gemm.toFixed(0)} GFLOP/s`,
    );
    for (const { network, seconds, flops, createSeconds, weightBytes } of result.networks) {
      const rate = flops / seconds / 1e9;
      console.log(
        `  ${network}: ${seconds.toFixed(2)} s (sessions ${createSeconds.toFixed(2)} s), ${(weightBytes / 1e9).toFixed(2)} GB, ${rate.toFixed(0)} GFLOP/s`,
      );
      if (network !== 'style') judge(`  ${network} throughput / best Gemm`, rate / gemm, BARS.gemmShare, 'at least');
    }
    const checkpoint = [...ENCODERS, STYLE].reduce((sum, id) => sum + (catalogueEntry(id).bytes ?? 0), 0);
    judge('  weight bytes / bytes of the checkpoints', result.weightBytes / checkpoint, BARS.bytesRead, 'at most');
    judge('  peak memory of all processes / 1.5 GiB', peak / BARS.peakBytes, 1, 'at most');
  }
}
