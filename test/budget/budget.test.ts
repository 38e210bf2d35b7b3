import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddingsFor, type EmbeddingName, type ExpertName } from '../../main/contract/experts.ts';
import type { Job } from '../../main/contract/job.ts';
import { EngineKeeper } from '../../main/engine-keeper.ts';
import { qwenImage, targetBlocks } from '../../main/lora/targets.ts';
import { writeEmbeddings } from '../../main/pipelines/embeddings-file.ts';
import { photographs } from '../bench/photographs.ts';
import { sparse } from '../models/sparse-models.ts';
import { tempFolder } from '../unit/temp.ts';
import { LARGE_IMAGES, largeImage } from './large-images.ts';
import { measuredJob } from './measured-job.ts';
import { makeRandomEncoders, makeWideModels } from './wide-models.ts';

/**
 * What the planner promises it keeps: an engine that may take so much memory takes at most a tenth more, whatever
 * the networks, at their published widths. What is too small is refused, and the smallest that is named is enough.
 */
const MIB = 2 ** 20;
const BUDGETS = [512, 1024, 2048, 4096, 8192].map((mebibytes) => mebibytes * MIB);
const OVER = 1.1;

const folder = tempFolder();
const models = join(folder, 'models');
const lora = join(folder, 'lora.safetensors');
const output = join(folder, 'out.safetensors');
const copies = join(folder, '8-bit');
const rows: object[] = [];

beforeAll(() => {
  makeWideModels(models);
  makeLora(lora, 48);
});
afterAll(() => console.table(rows));

/** Of Qwen-Image at its full size; its values are holes. */
function makeLora(file: string, rank: number): void {
  const modules = targetBlocks(qwenImage()).flatMap((block) => block.modules);
  const factors = modules.flatMap(({ path, in: inner, out }) => [
    { name: `diffusion_model.${path}.lora_A.weight`, shape: [rank, inner] },
    { name: `diffusion_model.${path}.lora_B.weight`, shape: [out, rank] },
  ]);
  sparse(file, factors);
}

interface Options {
  readonly memory: number;
  readonly device: 'cpu';
  readonly threads: 0;
}

async function encodeJob(
  experts: ExpertName[],
  images: number,
  options: Options,
  eightBit?: { readonly folder: string },
  from = models,
): Promise<Job> {
  return encodeFiles(await photographs(folder, images), experts, options, eightBit, from);
}

function encodeFiles(
  files: string[],
  experts: ExpertName[],
  options: Options,
  eightBit?: { readonly folder: string },
  from = models,
): Job {
  return { kind: 'encode', images: files, models: from, experts, output, skipBad: false, eightBit, ...options };
}

const WIDTHS: Readonly<Record<EmbeddingName, number>> = { siglip2: 1536, dinov3: 4096, 'qwen-low': 71 * 3584, 'qwen-high': 1376 * 3584 }; // prettier-ignore

/** Of embeddings as encode would write them. */
function decodeJob(experts: ExpertName[], images: number, options: Options): Job {
  const embeddings = join(folder, 'embeddings.safetensors');
  const parts = embeddingsFor(experts).map((name) => ({
    name,
    width: WIDTHS[name],
    rows: Array.from({ length: images }, () => new Float32Array(WIDTHS[name])),
  }));
  writeEmbeddings(embeddings, { parts, encoders: [], hashes: Array.from({ length: images }, (_, i) => `${i}`) });
  const files = experts.map((name) => ({ file: join(models, `qwen-image-i2l-${name}/model.safetensors`), strength: 1 }));
  return { kind: 'decode', embeddings, experts: files, output, dtype: 'bf16', keyForm: 'comfyui', ...options };
}

type MakeJob = (options: Options) => Job | Promise<Job>;

/** Budgets that a kind of job was seen to keep, by the budget. */
const CASES: Readonly<Record<string, { readonly budgets: readonly number[]; readonly make: MakeJob }>> = {
  // With the second budget two threads share each stage of DINOv3. More changes nothing of these plans.
  'SigLIP2 and DINOv3, 10 images': { budgets: BUDGETS.slice(0, 2), make: (options) => encodeJob(['style'], 10, options) },
  // The first makes the copies, the second finds them.
  'the same in 8 bits': { budgets: BUDGETS.slice(0, 2), make: (options) => encodeJob(['style'], 10, options, { folder: copies }) },
  ...Object.fromEntries(
    Object.keys(LARGE_IMAGES).map((kind) => [
      `SigLIP2 and DINOv3, one ${kind} of 8000 x 8000 pixels`,
      {
        budgets: BUDGETS.slice(0, 1),
        make: async (options: Options) => encodeFiles([await largeImage(folder, kind)], ['style'], options),
      },
    ]),
  ),
  // With the second budget two threads share its stages.
  'Qwen2.5-VL, 1 image': { budgets: [512 * MIB, 2304 * MIB], make: (options) => encodeJob(['coarse', 'fine'], 1, options) },
  'Style, 1 image': { budgets: [128 * MIB, ...BUDGETS], make: (options) => decodeJob(['style'], 1, options) },
  'Style, 60 images': { budgets: [128 * MIB, ...BUDGETS], make: (options) => decodeJob(['style'], 60, options) },
  'Coarse and Fine, 16 images': { budgets: BUDGETS, make: (options) => decodeJob(['coarse', 'fine'], 16, options) },
  'another rank': {
    budgets: [128 * MIB, ...BUDGETS.slice(0, 2)],
    make: (options) => ({ kind: 'reset-rank', file: lora, choice: { kind: 'fixed', rank: 32 }, split: 'b-heavy', output, dtype: 'bf16', keyForm: 'comfyui', ...options }), // prettier-ignore
  },
  'a merge': {
    budgets: [128 * MIB, ...BUDGETS.slice(0, 2)],
    make: (options) => ({ kind: 'merge', inputs: [{ file: lora, strength: 1 }, { file: lora, strength: -1 }], output, dtype: 'bf16', keyForm: 'comfyui', ...options }), // prettier-ignore
  },
};

describe.each(Object.entries(CASES))('%s', (what, { budgets, make }) => {
  test.each(budgets)('within %d bytes', async (memory) => {
    let allowed = memory;
    let outcome = await measuredJob(await make({ memory, device: 'cpu', threads: 0 }));
    if (outcome.state === 'refused') {
      allowed = outcome.smallest;
      expect(allowed, 'what a refusal names').toBeGreaterThan(memory);
      outcome = await measuredJob(await make({ memory: allowed, device: 'cpu', threads: 0 }));
    }
    if (outcome.state === 'refused') return expect.unreachable(`the smallest budget, ${allowed}, was refused`);
    const mebibytes = (bytes: number): number => Math.round(bytes / MIB);
    rows.push({ what, asked: mebibytes(memory), allowed: mebibytes(allowed), taken: mebibytes(outcome.peak) });
    expect(outcome.peak / allowed, 'taken / allowed').toBeLessThanOrEqual(OVER);
  });
});

/** One engine, which keeps what there is room for, over jobs of few and of many images. */
describe('Encoders that stay between jobs', () => {
  const LAYERS = 3;
  const random = join(folder, 'random');
  beforeAll(() => void makeRandomEncoders(random, LAYERS));

  const kinds = { 'as they are': undefined, 'in 8 bits': { folder: join(folder, 'kept 8-bit') } };
  const cases = Object.entries(kinds).flatMap(([kind, eightBit]) => [832, 1088].map((budget) => ({ kind, eightBit, budget })));
  test.each(cases)('$kind, within $budget MiB', async ({ kind, eightBit, budget }) => {
    const memory = budget * MIB;
    const keeper = new EngineKeeper();
    const kept: number[] = [];
    for (const images of [1, 1, 4, 1, 9, 1]) {
      const job = await encodeJob(['style'], images, { memory, device: 'cpu', threads: 0 }, eightBit, random);
      const outcome = await measuredJob(job, keeper.starterFor(job));
      if (outcome.state === 'refused') return expect.unreachable(`${memory} was refused`);
      const { networks, resident } = outcome.result;
      kept.push(networks.reduce((sum, { keptGroups }) => sum + keptGroups, 0));
      const mebibytes = (bytes: number): number => Math.round(bytes / MIB);
      const what = `${kind}, ${images} images: ${mebibytes(resident?.bytes ?? 0)} MiB stay, ${kept.at(-1)} found`;
      rows.push({ what, asked: budget, allowed: budget, taken: mebibytes(outcome.peak) });
      expect(outcome.peak / memory, 'taken / allowed').toBeLessThanOrEqual(OVER);
    }
    await keeper.close();
    expect(kept[1], 'found by the second job').toBeGreaterThan(0);
  });
});
