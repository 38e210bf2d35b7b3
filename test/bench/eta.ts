import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJobSchema } from '../../main/contract/job.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import { Library } from '../../main/library/library.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { createRunner } from '../../main/runners/create-job.ts';
import { loraRecorder } from '../../main/runners/record-lora.ts';
import { sparseModel } from '../models/sparse-models.ts';
import { dropCaches } from './decode.ts';
import { judge } from './measure.ts';
import { photographs } from './photographs.ts';

const MODELS = ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-style'];
const EVERY_MS = 250;
/** Of the time left; it is judged from the first tenth on to the last one. */
const BAR = 0.3;
/** Near the end, errors are shares of this share of the whole. */
const LEAST_LEFT = 0.05;

export interface EtaOptions {
  readonly imageCounts: readonly number[];
  readonly models: string | undefined;
}

/**
 * How honest the time left is: jobs of the queue at the published sizes, in real engines. The models' files are holes
 * of full length, or those of a folder, which the first job reads from its disk. The first job knows nothing of this
 * machine; the others know what earlier ones took.
 */
export async function benchEta({ imageCounts, models }: EtaOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'i2l-bench-eta-'));
  const library = await Library.open(join(folder, 'data'), { role: 'owner', name: 'bench' });
  const queue = new JobQueue({
    store: new LibraryJobs(library.database),
    runners: [createRunner(loraRecorder(library))],
  });
  try {
    if (models === undefined) for (const id of MODELS) sparseModel(join(folder, 'models', id, 'model.safetensors'), id);
    else if (!dropCaches()) console.log('  not from the disk (the system lets only root empty its file cache)');
    mkdirSync(join(folder, 'data', 'loras'), { recursive: true });
    queue.start();
    for (const [i, count] of imageCounts.entries())
      await measure(queue, { folder, models: models ?? join(folder, 'models') }, i, count);
  } finally {
    await queue.close();
    await library.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Folders {
  readonly folder: string;
  readonly models: string;
}

async function measure(queue: JobQueue, { folder, models }: Folders, at: number, count: number): Promise<void> {
  const images = (await photographs(folder, count)).map((file) => ({ file, weight: 1 }));
  const output = join(folder, 'data', 'loras', `${at}.safetensors`);
  const input = createJobSchema.parse({
    ...{ kind: 'create', sets: [{ output, images }], models, target: 'qwen-image' },
    ...{ experts: [{ name: 'style', strength: 1 }], skipBad: false, dtype: 'bf16', keyForm: 'comfyui' },
    ...{ memory: 1.5 * 2 ** 30, device: 'cpu', threads: 0 },
  });
  const { id } = queue.enqueue({ kind: 'create', title: `${count} images`, input });
  const started = performance.now();
  const told: { readonly at: number; readonly left: number }[] = [];
  while (!hasEnded(queue.get(id).state)) {
    const left = queue.get(id).progress?.etaSeconds;
    if (left !== undefined) told.push({ at: performance.now() - started, left });
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  const all = performance.now() - started;
  const { error } = queue.get(id);
  if (error) throw new Error(error.message);
  const errors = told
    .filter((one) => one.at > 0.1 * all && one.at < 0.9 * all)
    .map((one) => Math.abs(1000 * one.left - (all - one.at)) / Math.max(all - one.at, LEAST_LEFT * all))
    .sort((a, b) => a - b);
  const told10 = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((tenth) => told.find(({ at }) => at >= (tenth * all) / 10) ?? []);
  const words = told10.map(({ at, left }) => `${left.toFixed(0)}/${((all - at) / 1000).toFixed(0)}`);
  console.log(`  told / left, seconds, by tenths: ${words.join(' ')}`);
  const first = told.find((one) => one.at > 0.1 * all);
  console.log(`job ${at + 1}, ${count} image${count === 1 ? '' : 's'}: ${(all / 1000).toFixed(1)} s, told ${told.length} times`);
  if (first)
    console.log(`  after the first tenth it said ${first.left.toFixed(0)} s; ${((all - first.at) / 1000).toFixed(0)} s were left`);
  judge('  error of the time left, median', errors[Math.floor(errors.length / 2)] ?? Number.NaN, BAR, 'at most');
  judge('  error of the time left, worst', errors.at(-1) ?? Number.NaN, BAR, 'at most');
}
