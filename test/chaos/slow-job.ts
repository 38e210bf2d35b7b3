import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineEvent, JobProgress } from '../../main/contract/engine.ts';
import type { CreateJob } from '../../main/contract/job.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { runInEngine, type EngineRun } from '../../main/engine-process.ts';
import { planJob } from '../../main/pipelines/plan.ts';
import { makeTinyModels, styleTiny } from '../cli/tiny-models.ts';

/** Small models whose expert writes in many steps: there is time to hurt a job while its file is half there. */
export interface SlowJob {
  readonly models: string;
  /** Bytes: with no more than these, stages are hardly joined. */
  readonly memory: number;
  readonly job: (output: string) => CreateJob;
  /** The same job as arguments of the command line. */
  readonly args: (output: string) => string[];
}

const image = new URL('../../resources/examples/hills.jpg', import.meta.url).pathname;

export function makeSlowJob(folder: string): SlowJob {
  const models = makeTinyModels(join(folder, 'models'), { ...styleTiny, hidden: 4096, blocks: 24 });
  const memory = smallestBudget(models);
  return {
    models,
    memory,
    job: (output) => ({
      kind: 'create',
      sets: [{ output, images: [{ file: image, weight: 1 }] }],
      models,
      target: 'qwen-image',
      experts: [{ name: 'style', strength: 1 }],
      skipBad: false,
      dtype: 'f32',
      keyForm: 'plain',
      memory,
      device: 'cpu',
      threads: 1,
    }),
    args: (output) => [
      ...['create', image, '--models', models, '--output', output, '--dtype', 'f32', '--key-form', 'plain'],
      ...['--memory', String(memory), '--device', 'cpu', '--threads', '1'],
    ],
  };
}

/** What decoding the image takes, which a plan doesn't know of. */
const DECODE_BYTES = 4 << 20;

function smallestBudget(models: string): number {
  try {
    planJob({ models, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }], dtype: 'f32', memory: 1, images: 1 });
  } catch (error) {
    return Number(I2lError.from(error).fields['smallest']) + DECODE_BYTES;
  }
  throw new Error('a budget of one byte was taken');
}

/** How a run ended: never a rejection. */
export type Outcome = { readonly done: true } | { readonly done: false; readonly error: I2lError };

export async function outcomeOf(job: CreateJob, run: Partial<EngineRun> = {}): Promise<Outcome> {
  try {
    await runInEngine(job, { onEvent: () => undefined, ...run });
    return { done: true };
  } catch (error) {
    return { done: false, error: I2lError.from(error) };
  }
}

/** Calls `action` once, when the first stages of a step are done. */
export function atStep(step: string, action: (progress: JobProgress) => void): (event: EngineEvent) => void {
  let acted = false;
  return (event) => {
    if (acted || event.type !== 'progress' || event.step !== step) return;
    acted = true;
    action(event);
  };
}

export function sameBytes(path: string, bytes: Uint8Array): boolean {
  return readFileSync(path).equals(bytes);
}
