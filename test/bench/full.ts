import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { i2l } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import { catalogueEntry } from '../../main/weights/catalogue.ts';
import { mulberry32, writeSynthetic } from '../../main/weights/synthetic.ts';
import { float32Bytes } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { bestGemm } from './gemm.ts';
import { judge, measured, megabytes } from './measure.ts';
import { photographs } from './photographs.ts';

/**
 * The whole job at the published sizes, with synthetic weights: what they say nothing about is the
 * quality of a LoRA; what they cost is the same.
 */
export interface FullOptions {
  readonly styleOnly: boolean;
  readonly imageCounts: readonly number[];
  readonly folder: string | undefined;
  readonly keep: boolean;
}

const STYLE = 'qwen-image-i2l-style';
const ENCODERS = ['siglip2-g384', 'dinov3-7b'];
const EMBEDDING_WIDTH = 1536 + 4096;

/** The design's bars that this benchmark can judge. */
const BARS = { bytesRead: 1.02, decodeWarm: 4, decodeCold: 1.5, peakBytes: 1.5 * 2 ** 30, gemmShare: 0.8 } as const;

export async function benchFull({ styleOnly, imageCounts, folder, keep }: FullOptions): Promise<void> {
  const ids = styleOnly ? [STYLE] : [...ENCODERS, STYLE];
  const models = folder ?? mkdtempSync(join(tmpdir(), 'i2l-bench-'));
  try {
    makeModels(models, ids);
    await benchDecode(models, imageCounts);
    if (!styleOnly) await benchCreate(models, imageCounts);
  } finally {
    if (!keep) rmSync(models, { recursive: true, force: true });
    else console.log(`kept: ${models}`);
  }
}

function makeModels(models: string, ids: readonly string[]): void {
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

async function benchDecode(models: string, imageCounts: readonly number[]): Promise<void> {
  const expert = modelPath(models, STYLE);
  for (const images of imageCounts) {
    const command = ['decode', randomEmbeddings(models, images), '--expert', expert, '-o', join(models, 'out.safetensors')];
    for (const cold of [false, true]) {
      if (cold && !dropCaches()) {
        console.log('decode cold: not run (the system lets only root empty its file cache)');
        continue;
      }
      if (!cold) readThrough(expert); // Warm means that it is in memory already.
      const read = readThrough(expert);
      if (cold) dropCaches();
      const { result, peak, wall } = await measured(command);
      console.log(
        `decode Style, ${images} image${images === 1 ? '' : 's'}, ${cold ? 'cold' : 'warm'}: ${wall.toFixed(2)} s with the process's start, ${result.seconds.toFixed(2)} s in the engine; plain read of the file ${read.toFixed(2)} s`,
      );
      judge('  time / plain read', wall / read, cold ? BARS.decodeCold : BARS.decodeWarm, 'at most');
      judge(
        '  weight bytes / bytes of the checkpoint',
        result.weightBytes / (catalogueEntry(STYLE).bytes ?? 1),
        BARS.bytesRead,
        'at most',
      );
      console.log(`  peak memory of all processes ${megabytes(peak)}`);
    }
  }
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

function randomEmbeddings(folder: string, images: number): string {
  const path = join(folder, `embeddings-${images}.safetensors`);
  const next = mulberry32(images);
  const row = (name: string, width: number) => ({
    name,
    dtype: 'F32' as const,
    shape: [width],
    bytes: float32Bytes(Float32Array.from({ length: width }, () => 2 * next() - 1)),
  });
  const rows = Array.from({ length: images }, (_, i) => [
    row(`image.${i}.siglip2`, 1536),
    row(`image.${i}.dinov3`, EMBEDDING_WIDTH - 1536),
  ]);
  writeSafetensors(path, rows.flat());
  return path;
}

/** Seconds to read a file from start to end, as fast as one thread can. */
function readThrough(path: string): number {
  const started = performance.now();
  const buffer = Buffer.allocUnsafe(8 << 20);
  const fd = openSync(path, 'r');
  const size = statSync(path).size;
  for (let at = 0; at < size;) at += readSync(fd, buffer, 0, buffer.length, at);
  closeSync(fd);
  return (performance.now() - started) / 1000;
}

/** @returns whether the system let us */
function dropCaches(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}
