import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import type { JobResult } from '../../main/contract/engine.ts';
import type { Job } from '../../main/contract/job.ts';
import type { TrainingExportJob } from '../../main/contract/export-jobs.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { stopped, type JobContext, type JobRunner, type StopReason } from '../../main/jobs/runner.ts';
import { readLora } from '../../main/pipelines/inspect-lora.ts';
import type { StartEngine } from '../../main/runners/engine-job.ts';
import { mergeAtRankRunner } from '../../main/runners/merge-at-rank-job.ts';
import { trainingExportRunner } from '../../main/runners/training-export-job.ts';
import { makeLora } from '../library/make-loras.ts';
import { openLibrary } from '../library/open-library.ts';
import { run } from '../lora/lora-files.ts';
import { tempFolder } from '../unit/temp.ts';
import type { Note } from '../../main/contract/notes.ts';

const base = tempFolder();

/** A job's surroundings, whose journal outlives a run. */
class Bench {
  readonly steps = new Map<string, unknown>();
  readonly logged: Note[] = [];
  stop = new AbortController();

  context(): JobContext {
    return {
      jobId: 7,
      signal: this.stop.signal,
      progress: () => undefined,
      log: (note) => void this.logged.push(note),
      journal: {
        done: (key) => this.steps.has(key),
        get: (key) => this.steps.get(key),
        finish: (key, value, record) => {
          record?.();
          this.steps.set(key, value);
        },
      },
    };
  }

  again(): void {
    this.stop = new AbortController();
  }
}

/** Runs each engine job in this process, and notes it; `stopAt` stops the job when the engine begins its n-th. */
function engine(
  bench: Bench,
  stopAt?: { readonly job: number; readonly reason: StopReason },
): { start: StartEngine; kinds: string[] } {
  const kinds: string[] = [];
  const start: StartEngine = async (job) => {
    kinds.push(job.kind);
    if (stopAt?.job === kinds.length) {
      bench.stop.abort(stopped(stopAt.reason));
      throw new I2lError('CANCELLED', 'The job was cancelled.');
    }
    return run(job as Job);
  };
  return { start, kinds };
}

const engineOptions = { memory: 2 ** 30, device: 'cpu', threads: 1 } as const;

function mergeJob(name: string) {
  const inputs = [1, 3].map((seed) => ({ file: makeLora(join(base, name, `${seed}.safetensors`), seed).file, strength: 1 }));
  const output = join(base, name, 'out.safetensors');
  return { kind: 'merge-at-rank' as const, inputs, rank: 2, output, dtype: 'bf16' as const, keyForm: 'comfyui' as const, ...engineOptions }; // prettier-ignore
}

test.each(['shutdown', 'pause', 'cancel'] as const)(
  'a merge at a rank that was stopped by %s leaves nothing of gigabytes behind, and is made anew',
  async (reason) => {
    const bench = new Bench();
    const job = mergeJob(reason);
    // Of a process that died half-way.
    writeFileSync(`${job.output}.999999999-0.i2l-part`, 'a sum');
    const recorded: string[] = [];
    const record =
      async ({ file }: { file: string }) =>
      () =>
        void recorded.push(file);
    const first = engine(bench, { job: 2, reason });
    await expect(mergeAtRankRunner(record, first.start).run(job, bench.context())).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(first.kinds).toEqual(['merge', 'reset-rank']);
    expect(readdirSync(dirname(job.output)).sort()).toEqual(['1.safetensors', '3.safetensors']);
    bench.again();
    const second = engine(bench);
    const result = (await mergeAtRankRunner(record, second.start).run(job, bench.context())) as JobResult;
    expect(second.kinds).toEqual(['merge', 'reset-rank']);
    expect(result.rank).toBe(2);
    expect(readdirSync(dirname(job.output)).sort()).toEqual(['1.safetensors', '3.safetensors', 'out.safetensors']);
    expect(recorded).toEqual([job.output]);
    const third = engine(bench);
    expect(await mergeAtRankRunner(record, third.start).run(job, bench.context())).toEqual(result);
    expect(third.kinds).toEqual([]);
  },
);

async function trainingBench(name: string): Promise<{
  bench: Bench;
  job: TrainingExportJob;
  runner: (start: StartEngine) => JobRunner<TrainingExportJob, unknown>;
  exports: () => Promise<unknown[]>;
}> {
  const dataFolder = join(base, name);
  const library = await openLibrary(dataFolder);
  const { file } = makeLora(join(dataFolder, 'loras', 'one.safetensors'), 5);
  const { id } = library.loras.add(await readLora(file));
  const folder = join(base, name, 'training');
  const job = { kind: 'export-training', lora: id, trainer: 'musubi', folder, steps: 10, images: false, ...engineOptions } as const;
  return { bench: new Bench(), job, runner: (start) => trainingExportRunner({ library, dataFolder }, start), exports: () => library.loraExports.of(id) }; // prettier-ignore
}

test('a training folder that was there when the process died is not written again', async () => {
  const { bench, job, runner, exports } = await trainingBench('died');
  const { start, kinds } = engine(bench);
  await runner(start).run(job, bench.context());
  expect(kinds).toEqual(['merge']);
  // As if the process had died behind the last rename.
  bench.steps.delete('written');
  await runner(start).run(job, bench.context());
  expect(kinds).toEqual(['merge']);
  expect(await exports()).toMatchObject([{ kind: 'musubi', state: 'present' }]);
});

test.each(['it is written again', 'its LoRA is gone'])(
  'half a training folder of a process that died goes, also if %s',
  async (how) => {
    const { bench, job, runner } = await trainingBench(`half, ${how}`);
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    const half = `${job.folder}.${dead}-0.i2l-part`;
    mkdirSync(join(half, 'images'), { recursive: true });
    writeFileSync(join(half, 'start.safetensors'), 'half');
    bench.steps.set('begun', true);
    const asked = how === 'its LoRA is gone' ? { ...job, lora: 999 } : job;
    const ended = runner(engine(bench).start).run(asked, bench.context());
    await (asked === job ? ended : expect(ended).rejects.toMatchObject({ code: 'NOT_IN_LIBRARY' }));
    expect(existsSync(half)).toBe(false);
    expect(existsSync(job.folder)).toBe(asked === job);
  },
);

test("a folder that was somebody else's stays as it is", async () => {
  const { bench, job, runner, exports } = await trainingBench('occupied');
  mkdirSync(job.folder, { recursive: true });
  writeFileSync(join(job.folder, 'start.safetensors'), 'precious');
  const { start, kinds } = engine(bench);
  for (let i = 0; i < 2; i++) {
    await expect(runner(start).run(job, bench.context())).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  }
  expect([kinds, await exports()]).toEqual([[], []]);
});
