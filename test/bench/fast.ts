import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { JobResult } from '../../main/contract/engine.ts';
import { ENCODERS, makeModels, STYLE } from './full.ts';
import { bestGemm } from './gemm.ts';
import { judge, measured, tellCopies } from './measure.ts';
import { photographs } from './photographs.ts';

/**
 * Encoders in 8 bits beside the same encoders as they are, at the published sizes with random weights: seconds, memory,
 * and what it does to dW.
 */
export interface FastOptions {
  readonly imageCounts: readonly number[];
  readonly folder: string | undefined;
  readonly keep: boolean;
  /** What reference_encoders.py wrote, in the same sitting. */
  readonly reference: string | undefined;
}

const BARS = { worstCosine: 0.999, encoderSeconds: 0.7, reference: 1 } as const;

/** Seconds an image by encoder. */
const referenceSchema = z.record(z.string(), z.object({ seconds: z.number().positive() }));
type Reference = z.infer<typeof referenceSchema>;

export async function benchFast({ imageCounts, folder, keep, ...options }: FastOptions): Promise<void> {
  const models = folder ?? mkdtempSync(join(tmpdir(), 'i2l-bench-'));
  process.env['I2L_HOME'] = join(models, 'data');
  const reference = options.reference && referenceSchema.parse(JSON.parse(readFileSync(options.reference, 'utf8')));
  try {
    makeModels(models, [...ENCODERS, STYLE]);
    for (const count of imageCounts) await compare(models, count, reference || undefined);
  } finally {
    if (!keep) rmSync(models, { recursive: true, force: true });
    else console.log(`kept: ${models}`);
  }
}

async function compare(models: string, count: number, reference: Reference | undefined): Promise<void> {
  const images = await photographs(models, count);
  const [exact, fast] = ['exact', 'fast'].map((name) => join(models, `${name}.safetensors`)) as [string, string];
  const create = async (output: string, ...options: string[]): ReturnType<typeof measured> =>
    measured(['create', ...images, '--models', models, '--no-cache', '--no-library', '-o', output, ...options]);
  console.log(`${count} image${count === 1 ? '' : 's'}; best f32 Gemm ${(await bestGemm()).toFixed(0)} GFLOP/s`);
  const making = await create(fast, '--fast');
  tellCopies(making);
  const [plain, quick] = [await create(exact), await create(fast, '--fast')];
  for (const [name, { result, peak, wall }] of Object.entries({ 'as they are': plain, '--fast': quick }))
    console.log(`  ${name}: ${wall.toFixed(1)} s, ${encoderWords(result)}, peak of all processes ${(peak / 1e6).toFixed(0)} MB`);
  const seconds = [plain, quick].map(({ result }) => encoderSeconds(result)) as [number, number];
  judge('  encoders, --fast / as they are', seconds[1] / seconds[0], BARS.encoderSeconds, 'at most');
  for (const { network, seconds: own } of reference ? encoders(quick.result) : []) {
    const theirs = reference?.[network];
    if (theirs) judge(`  ${network}, --fast / the reference in bf16`, own / (theirs.seconds * count), BARS.reference, 'at most');
  }
  const { result } = await measured(['diff', exact, fast]);
  const cosines = (result.comparison ?? []).map(({ cosine }) => cosine ?? Number.NaN).sort((a, b) => a - b);
  console.log(`  median cosine of dW ${(cosines[cosines.length >> 1] ?? Number.NaN).toFixed(6)} over ${cosines.length} modules`);
  judge('  worst cosine of dW', cosines[0] ?? Number.NaN, BARS.worstCosine, 'at least');
}

function encoders({ networks }: JobResult): JobResult['networks'] {
  return networks.filter(({ network }) => network === 'siglip2' || network === 'dinov3');
}

function encoderSeconds(result: JobResult): number {
  return encoders(result).reduce((sum, { seconds }) => sum + seconds, 0);
}

function encoderWords(result: JobResult): string {
  return encoders(result)
    .map(({ network, seconds, flops, createSeconds }) => {
      const rate = (flops / seconds / 1e9).toFixed(0);
      return `${network} ${seconds.toFixed(1)} s (sessions ${createSeconds.toFixed(1)} s, ${rate} GFLOP/s)`;
    })
    .join(', ');
}
