import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import type { EncodeJob } from '../../main/contract/job.ts';
import { dinov3, type Dinov3Config } from '../../main/networks/dinov3.ts';
import { layoutOf } from '../../main/networks/network.ts';
import { siglip2, type Siglip2Config } from '../../main/networks/siglip2.ts';
import { runInEngine } from '../../main/engine-process.ts';
import { allowance, planAll } from '../../main/pipelines/context.ts';
import { openEncoders } from '../../main/pipelines/open-encoders.ts';
import { prepareEncoder } from '../../main/pipelines/plan-encoding.ts';
import { photographs } from '../bench/photographs.ts';
import { measuredJob } from '../budget/measured-job.ts';
import { sparse } from '../models/sparse-models.ts';
import { tempFolder } from '../unit/temp.ts';
import { whyNoWebGpu } from './webgpu.ts';

/**
 * What the planner promises of a device's memory, kept on a software driver: its memory is the engine's own, so the engine
 * takes at most a tenth more than both budgets together. Weights are large and tokens few, since it is slow.
 */
const MIB = 2 ** 20;
const OVER = 1.1;
const folder = tempFolder();
const rows: object[] = [];
afterAll(() => console.table(rows));

/** Its memory comes from malloc: what it frees has to go back, as a device's own would. */
beforeAll(() => void (process.env['MALLOC_MMAP_THRESHOLD_'] = String(MIB)));

let refusal: string | undefined;
beforeAll(async () => void (refusal = await whyNoWebGpu()));
beforeEach((context) => {
  if (refusal !== undefined) context.skip(`no WebGPU on this machine: ${refusal}`);
});

/** A class token, four registers, four patches. */
const FEW_TOKENS = { imageSize: 32, patch: 16 };
const dino = (sizes: Pick<Dinov3Config, 'width' | 'mlpWidth' | 'layers'>): Dinov3Config => ({
  ...{ heads: 16, registers: 4, ropeTheta: 100, epsilon: 1e-5 },
  ...FEW_TOKENS,
  ...sizes,
});
const siglip = (sizes: Pick<Siglip2Config, 'width' | 'mlpWidth' | 'layers'>): Siglip2Config => ({
  ...{ heads: 16, epsilon: 1e-6 },
  ...FEW_TOKENS,
  ...sizes,
});

/** @returns the folder of two encoders whose weights are holes */
function makeEncoders(name: string, dinoConfig: Dinov3Config, siglipConfig: Siglip2Config): string {
  const models = join(folder, name);
  const write = (id: string, layout: Parameters<typeof sparse>[1], config: object): void => {
    mkdirSync(join(models, id), { recursive: true });
    writeFileSync(join(models, id, 'config.json'), JSON.stringify(config));
    sparse(join(models, id, 'model.safetensors'), layout, 'BF16', { synthetic: 'zeros; not a trained model' });
  };
  const { heads, imageSize } = dinoConfig;
  write('dinov3-7b', layoutOf(dinov3, dinoConfig), { model_type: 'dinov3_vit', num_attention_heads: heads, image_size: imageSize });
  write('siglip2-g384', layoutOf(siglip2, siglipConfig), { model_type: 'siglip_vision_model', num_attention_heads: heads });
  return models;
}

/** Stages of 16 MiB in f32: which are joined is the budget's choice. */
const narrow = makeEncoders(
  'narrow',
  dino({ width: 1024, mlpWidth: 1024, layers: 2 }),
  siglip({ width: 1024, mlpWidth: 2048, layers: 2 }),
);
/** Stages of up to 384 MiB in f32. */
const wide = makeEncoders(
  'wide',
  dino({ width: 4096, mlpWidth: 8192, layers: 1 }),
  siglip({ width: 1024, mlpWidth: 2048, layers: 1 }),
);

interface DeviceBudgets {
  readonly memory: number;
  readonly vram: number;
}

async function encodeJob(models: string, budgets: DeviceBudgets, count = 1): Promise<EncodeJob> {
  const images = await photographs(folder, count);
  const output = join(folder, 'out.safetensors');
  return { kind: 'encode', images, models, experts: ['style'], output, skipBad: false, device: 'webgpu', threads: 0, ...budgets };
}

/** What the refusal of a job that may take next to nothing names. */
async function smallestOf(models: string): Promise<DeviceBudgets> {
  const job = await encodeJob(models, { memory: MIB, vram: MIB });
  const error = await runInEngine(job, { onEvent: () => undefined }).catch((thrown: unknown) => I2lError.from(thrown));
  if (!(error instanceof I2lError)) return expect.unreachable('a job was done in no memory');
  expect(error.code).toBe('MEMORY_BUDGET');
  return { memory: Number(error.fields['smallest']), vram: Number(error.fields['smallestVram']) };
}

function groupsOf(models: string, budgets: DeviceBudgets): number {
  const device = 'webgpu';
  const encoders = openEncoders(models, ['siglip2', 'dinov3']).map((encoder) => prepareEncoder(encoder, 0, { device }));
  const works = encoders.map((network) => ({ network, images: 1 }));
  const plans = planAll(works, allowance(budgets, { device, threads: 0 }));
  return [...plans.values()].reduce((sum, { groups }) => sum + groups.length, 0);
}

/** Of the device's memory alone. */
async function refusedVram(models: string, budgets: DeviceBudgets): Promise<unknown> {
  const error = await runInEngine(await encodeJob(models, budgets), { onEvent: () => undefined }).catch(I2lError.from);
  return error instanceof I2lError ? error.fields : error;
}

async function expectKept(what: string, models: string, budgets: DeviceBudgets, images = 1): Promise<void> {
  const { memory, vram } = budgets;
  const outcome = await measuredJob(await encodeJob(models, budgets, images));
  if (outcome.state === 'refused') return expect.unreachable(`${outcome.smallest} bytes are wanted`);
  const [host, device, taken] = [memory, vram, outcome.peak].map((bytes) => Math.round(bytes / MIB));
  rows.push({ what, host, device, groups: groupsOf(models, budgets), taken });
  expect(outcome.result.device).toBe('webgpu');
  expect(outcome.peak / (memory + vram), 'taken / allowed').toBeLessThanOrEqual(OVER);
}

test('stages of few bytes: each by itself in the smallest memory, together in more', async () => {
  const smallest = await smallestOf(narrow);
  const more = { memory: smallest.memory + 64 * MIB, vram: 64 * MIB };
  expect(groupsOf(narrow, more)).toBeLessThan(groupsOf(narrow, smallest) / 2);
  await expectKept('few bytes, one by one', narrow, smallest);
  await expectKept('few bytes, together', narrow, more);
});

test('stages of many bytes, in the smallest memory and in 8 GiB', async () => {
  const smallest = await smallestOf(wide);
  const less = { ...smallest, vram: smallest.vram - 1 };
  expect(await refusedVram(wide, less)).toMatchObject({ option: '--vram', smallest: smallest.vram, network: 'dinov3' });
  await expectKept('many bytes', wide, smallest);
  const plenty = { memory: 4096 * MIB, vram: 4096 * MIB };
  await expectKept('many bytes, 8 images, plenty', wide, plenty, 8);
});
