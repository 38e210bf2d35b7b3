import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import type { EngineEvent } from '../../main/contract/engine.ts';
import type { ResetRankJob } from '../../main/contract/job.ts';
import { openLora } from '../../main/lora/read-lora.ts';
import { performTask, taskKernels, type Results, type SentTask } from '../../main/networks/lora-tasks.ts';
import { kernelBytes, Kernels } from '../../main/offload/kernels.ts';
import { Threads } from '../../main/offload/threads.ts';
import { LoraAlgebra } from '../../main/pipelines/lora-algebra.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { readFileSync } from 'node:fs';
import { randomDense, withFolder, writeLora, type TestModule } from './lora-files.ts';

const { folder, clear } = withFolder('threads');
afterAll(clear);

const script = new URL('../../main/networks/lora-thread.ts', import.meta.url);
const modules = (count: number, rank = 6, width = 40): TestModule[] =>
  Array.from({ length: count }, (_, i) => ({
    path: `layers.${i}.m`,
    a: randomDense(rank, width, i),
    b: randomDense(width + 1, rank, i + 1000),
  }));
const small = writeLora(join(folder, 'small.safetensors'), modules(9));
const resets = (file: string): SentTask<'reset'>[] =>
  openLora(file).modules.map((module) => ({ kind: 'reset', task: { module, rank: 3, split: 'b-heavy', dtype: 'F32' } }));

describe('threads', () => {
  test('answer as the work done here does', async () => {
    const threads = new Threads(script, 2);
    const kernels = new Kernels({ device: 'cpu', threads: 1 });
    try {
      const there = await Promise.all(resets(small).map((sent) => threads.perform(sent)));
      for (const [i, sent] of resets(small).entries()) {
        const { a, b, singularValues } = there[i] as Results['reset'];
        expect({ a, b, singularValues }).toEqual(await performTask(sent, kernels));
      }
    } finally {
      await threads.close();
      await kernels.close();
    }
  });

  test('pass on what failed, with its code, and go on', async () => {
    const made = modules(2);
    made[0]!.a.values[7] = Number.NaN;
    const threads = new Threads(script, 1);
    try {
      const [bad, good] = resets(writeLora(join(folder, 'bad.safetensors'), made)).map((sent) => threads.perform(sent));
      await expect(bad).rejects.toMatchObject({ code: 'NOT_FINITE', fields: { module: 'layers.0.m' } });
      await expect(bad).rejects.toBeInstanceOf(I2lError);
      expect(await good).toHaveProperty('singularValues');
    } finally {
      await threads.close();
    }
  });

  test('that end tell those who wait', async () => {
    const threads = new Threads(new URL('data:text/javascript,import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(3));'), 1); // prettier-ignore
    await expect(threads.perform({})).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('code 3') as string,
    });
    await expect(threads.perform({})).rejects.toMatchObject({ code: 'INTERNAL' });
    await threads.close();
  });
});

describe('a pass', () => {
  const silent = { emit: () => undefined, signal: new AbortController().signal };
  // 75 MB: enough for two threads.
  const large = writeLora(join(folder, 'large.safetensors'), modules(12, 40, 19_000));
  const job = (threads: number, name: string): ResetRankJob => ({
    kind: 'reset-rank',
    file: large,
    choice: { kind: 'energy', share: 0.9, perModule: true },
    split: 'balanced',
    output: join(folder, name),
    dtype: 'bf16',
    keyForm: 'comfyui',
    memory: 2 ** 30,
    device: 'cpu',
    threads,
  });

  test('writes the same bytes whatever the threads, and tells how far it is', async () => {
    const events: EngineEvent[] = [];
    const one = await runJob({ ...silent, emit: (event) => void events.push(event) }, job(1, 'one.safetensors'));
    const two = await runJob(silent, job(2, 'two.safetensors'));
    expect(two.tensorHash).toBe(one.tensorHash);
    expect(readFileSync(two.output!).equals(readFileSync(one.output!))).toBe(true);
    expect(events.at(-1)).toMatchObject({
      step: 'reset',
      stageIndex: 24,
      stageCount: 24,
      bytesDone: one.weightBytes,
      etaSeconds: 0,
    });
  });

  test('stops between two modules when it is cancelled', async () => {
    const cancelled = new AbortController();
    const context = { emit: () => cancelled.abort(), signal: cancelled.signal };
    await expect(runJob(context, job(2, 'never.safetensors'))).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test('that a budget is too small for is refused before it starts, with the smallest that is enough', () => {
    const passes = [{ kind: 'reset' as const, tasks: resets(large).map(({ task }) => task) }];
    const start = (memory: number): LoraAlgebra => new LoraAlgebra(silent, { threads: 2, memory }, passes);
    let smallest = 0;
    try {
      start(1);
    } catch (error) {
      expect(error).toMatchObject({ code: 'MEMORY_BUDGET', fields: { stage: 'layers.0.m' } });
      smallest = Number((error as I2lError).fields['smallest']);
    }
    const [sent] = resets(large);
    expect(smallest).toBeGreaterThan(Math.max(...taskKernels(sent!).map(kernelBytes)));
    expect(() => start(smallest - 1)).toThrow();
    expect(() => start(smallest)).not.toThrow();
  });
});
