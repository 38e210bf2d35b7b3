import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { expertTarget, i2l, type I2lConfig } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { qwen25vl } from '../../main/networks/qwen25vl.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import { targetBlocks } from '../../main/lora/targets.ts';
import { catalogueEntry } from '../../main/weights/catalogue.ts';
import type { Layout } from '../../main/weights/fingerprint.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { sparse } from '../models/sparse-models.ts';
import { judge, measured, tellCopies } from './measure.ts';
import { photographs } from './photographs.ts';

/**
 * Coarse, Fine and Bias at the published sizes. Qwen2.5-VL has random weights; the other files are holes of
 * their full length, so that 65 GB fit on a disk of 20: they cost what real ones cost but for the disk's own
 * time, and give a LoRA of zeros.
 */
export interface ExpertsOptions {
  readonly imageCounts: readonly number[];
  readonly memory: string;
  /** Encoders in 8 bits, from copies that a job before it has made. */
  readonly isFast: boolean;
  readonly folder: string | undefined;
  readonly keep: boolean;
}

const RANDOM = 'qwen2.5-vl-7b';
const HOLES = ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-coarse', 'qwen-image-i2l-fine'];
const BIAS = 'qwen-image-i2l-bias';
/** Of no published size. */
const BIAS_RANK = 16;

export async function benchExperts({ imageCounts, memory, isFast, folder, keep }: ExpertsOptions): Promise<void> {
  const models = folder ?? mkdtempSync(join(tmpdir(), 'i2l-bench-'));
  process.env['I2L_HOME'] = join(models, 'data');
  try {
    for (const id of [RANDOM, ...HOLES, BIAS]) makeModel(models, id);
    for (const count of imageCounts) await create(models, count, memory, isFast);
  } finally {
    if (!keep) rmSync(models, { recursive: true, force: true });
    else console.log(`kept: ${models}`);
  }
}

function makeModel(models: string, id: string): void {
  const path = join(models, id, 'model.safetensors');
  if (existsSync(path)) return;
  mkdirSync(join(models, id), { recursive: true });
  const layout = id === BIAS ? biasLayout() : publishedLayout(id);
  if (id === RANDOM) {
    console.log(`${id}: ${((catalogueEntry(id).bytes ?? 0) / 1e9).toFixed(1)} GB of random weights to write`);
    writeSynthetic(path, layout, { seed: 1 });
    return;
  }
  sparse(path, layout, 'BF16', { synthetic: 'zeros; not a trained model' });
  writeFileSync(join(models, id, 'README'), 'Zeros, for a benchmark.\n');
}

function publishedLayout(id: string): Layout {
  const networks = [siglip2, dinov3, qwen25vl, i2l] as unknown as Network<unknown>[];
  const network = networks.find((candidate) => id in candidate.published);
  if (!network) throw new Error(`no network for ${id}`);
  return layoutOf(network, network.published[id]);
}

function biasLayout(): Layout {
  const target = expertTarget(i2l.published['qwen-image-i2l-fine'] as I2lConfig);
  return targetBlocks(target)
    .flatMap(({ modules }) => modules)
    .flatMap(({ path, in: inner, out }) => [
      { name: `${path}.lora_A.default.weight`, shape: [BIAS_RANK, inner] },
      { name: `${path}.lora_B.default.weight`, shape: [out, BIAS_RANK] },
    ]);
}

async function create(models: string, count: number, memory: string, isFast: boolean): Promise<void> {
  const images = await photographs(models, count);
  const options = ['--models', models, '--experts', 'coarse,fine,bias', '--memory', memory, '--no-cache', '--no-library'];
  const command = ['create', ...images, ...options, ...(isFast ? ['--fast'] : []), '-o', join(models, 'out.safetensors')];
  if (isFast) tellCopies(await measured(command));
  const { result, peak, wall } = await measured(command);
  const rank = String(result.rank);
  console.log(
    `create, Coarse + Fine + Bias, ${count} image${count === 1 ? '' : 's'}, --memory ${memory}${isFast ? ', --fast' : ''}: ${wall.toFixed(1)} s, rank ${rank}`,
  );
  for (const { network, seconds, flops, createSeconds, sinkSeconds, weightBytes } of result.networks) {
    const rate = (flops / seconds / 1e9).toFixed(0);
    console.log(`  ${network}: ${seconds.toFixed(1)} s (sessions ${createSeconds.toFixed(1)} s, writing ${sinkSeconds.toFixed(1)} s), ${(weightBytes / 1e9).toFixed(2)} GB, ${rate} GFLOP/s`); // prettier-ignore
  }
  const used = [RANDOM, ...HOLES].reduce((sum, id) => sum + (catalogueEntry(id).bytes ?? 0), 0);
  if (!isFast) judge('  weight bytes / bytes of the checkpoints', result.weightBytes / used, 1.02, 'at most');
  console.log(
    `  peak memory of all processes ${(peak / 2 ** 30).toFixed(2)} GiB; the engine says ${(result.peakMemory / 2 ** 30).toFixed(2)}`,
  );
}
