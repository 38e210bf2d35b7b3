import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobResult } from '../../main/contract/engine.ts';
import { createJobSchema, type CreateJob } from '../../main/contract/job.ts';
import { EngineKeeper } from '../../main/engine-keeper.ts';
import { runInEngine } from '../../main/engine-process.ts';
import { ENCODERS, makeModels, STYLE } from './full.ts';
import { judge, megabytes } from './measure.ts';
import { photographs } from './photographs.ts';
import { watchProcesses, type ProcessWatch } from './process-watch.ts';

/**
 * Two jobs in a row, at the published sizes with random weights: each in an engine of its own, and both in one that keeps
 * the encoders' weights in memory. Both ways the second job is the one that counts.
 */
export interface ResidentOptions {
  readonly imageCounts: readonly number[];
  /** Bytes. */
  readonly budgets: readonly number[];
  /** Encoders in 8 bits. */
  readonly isFast: boolean;
  readonly folder: string | undefined;
  readonly keep: boolean;
}

/** Of the budget: what is promised of every job. */
const MEMORY_BAR = 1.1;

export async function benchResident({ imageCounts, budgets, isFast, folder, keep }: ResidentOptions): Promise<void> {
  const models = folder ?? mkdtempSync(join(tmpdir(), 'i2l-bench-'));
  try {
    makeModels(models, [...ENCODERS, STYLE]);
    for (const count of imageCounts) {
      const images = (await photographs(models, count)).map((file) => ({ file, weight: 1 }));
      const jobOf = (memory: number): CreateJob =>
        createJobSchema.parse({
          ...{ kind: 'create', sets: [{ output: join(models, 'out.safetensors'), images }], models, target: 'qwen-image' },
          ...{ experts: [{ name: 'style', strength: 1 }], skipBad: false, dtype: 'bf16', keyForm: 'comfyui' },
          ...{ memory, device: 'cpu', threads: 0, ...(isFast ? { eightBit: { folder: join(models, '8-bit') } } : {}) },
        });
      const what = `${count} images, ${isFast ? '--fast' : 'as they are'}`;
      for (const memory of budgets) await compare(`${what}, ${gibibytes(memory)}`, jobOf(memory));
    }
  } finally {
    if (!keep) rmSync(models, { recursive: true, force: true });
    else console.log(`kept: ${models}`);
  }
}

interface Ran {
  readonly result: JobResult;
  /** Seconds, with the start of an engine where there is one. */
  readonly wall: number;
  /** Bytes of the engine at its highest. */
  readonly peak: number;
  readonly lora: Buffer;
}

async function compare(what: string, job: CreateJob): Promise<void> {
  // The first makes copies that are missing, and brings what fits into the system's cache.
  await run(job);
  const alone = await run(job);
  const keeper = new EngineKeeper();
  const first = await run(job, keeper);
  const second = await run(job, keeper);
  await keeper.close();
  const { groups = 0, bytes = 0 } = first.result.resident ?? {};
  console.log(`${what}: weights of ${groups} groups stay, ${megabytes(bytes)}`);
  for (const [name, ran] of Object.entries({ 'an engine of its own': alone, 'first of two': first, 'second of two': second }))
    console.log(`  ${name}: ${words(ran)}`);
  if (!second.lora.equals(alone.lora)) throw new Error('the second job made another file');
  console.log(`  second / alone: ${(second.wall / alone.wall).toFixed(2)}`);
  judge('  highest memory / budget', second.peak / job.memory, MEMORY_BAR, 'at most');
}

async function run(job: CreateJob, keeper?: EngineKeeper): Promise<Ran> {
  let watch: ProcessWatch | undefined;
  const started = performance.now();
  const result = await runInEngine(
    job,
    { onEvent: () => undefined, onStart: (pid) => (watch = watchProcesses(pid)) },
    keeper?.starterFor(job),
  );
  const wall = (performance.now() - started) / 1000;
  return { result, wall, peak: watch?.stop().peak ?? Number.NaN, lora: readFileSync(result.output ?? '') };
}

function words({ result: { networks, weightBytes }, wall, peak }: Ran): string {
  const parts = networks.map(
    ({ network, seconds, waitSeconds, keptGroups }) =>
      `${network} ${seconds.toFixed(1)} s (waiting ${waitSeconds.toFixed(1)} s, ${keptGroups} found)`,
  );
  return `${wall.toFixed(1)} s, ${parts.join(', ')}; ${(weightBytes / 1e9).toFixed(1)} GB read, memory ${megabytes(peak)}`;
}

function gibibytes(bytes: number): string {
  return `${bytes / 2 ** 30} GiB`;
}
