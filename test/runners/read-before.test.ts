import { expect, test } from 'vitest';
import type { JobProgress, JobResult } from '../../main/contract/engine.ts';
import type { Job } from '../../main/contract/job.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { EtaEstimator } from '../../main/jobs/eta.ts';
import type { StartEngine } from '../../main/runners/engine-job.ts';
import { tellingReadBefore } from '../../main/runners/read-before.ts';

const GIB = 2 ** 30;
const job = { kind: 'create' } as unknown as Job;

function progress(steps: readonly string[], bytesTotal: number): JobProgress {
  return {
    ...{ type: 'progress', step: steps[0] ?? '', stage: '', stageIndex: 0, stageCount: 1, images: 1, device: 'cpu' },
    ...{ bytesDone: 0, bytesTotal, bytesPerSecond: 0, etaSeconds: 0 },
    work: steps.map((step) => ({ step, done: 0, total: 10 })),
  };
}

/** Runs jobs of these steps one after another. @returns what each is told to work on, at its begin and at its end */
async function told(
  available: () => number,
  ...jobs: readonly (readonly [steps: readonly string[], bytes: number, fails?: true])[]
) {
  let next = jobs[0];
  const engine: StartEngine = (_job, run) => {
    const [steps, bytes, fails] = next ?? expect.unreachable();
    run.onEvent(progress(steps, bytes));
    run.onEvent(progress(steps, bytes));
    return fails ? Promise.reject(new I2lError('CANCELLED', 'stopped')) : Promise.resolve({} as JobResult);
  };
  const start = tellingReadBefore(engine, available);
  const seen: string[][] = [];
  for (next of jobs) {
    const events: string[][] = [];
    const onEvent = (event: { type: string }): void => void events.push((event as JobProgress).work.map(({ step }) => step));
    await start(job, { onEvent }).catch(() => undefined);
    expect(events[1], 'at its end').toEqual(events[0]);
    seen.push(events[0] ?? []);
  }
  return seen;
}

test('what the last job has read is a kind of its own, where memory has room for all that the job reads', async () => {
  const style = ['siglip2', 'dinov3'];
  const marked = style.map((step) => `${step}, read before`);
  expect(await told(() => 20 * GIB, [style, 15 * GIB], [style, 15 * GIB])).toEqual([style, marked]);
  expect(await told(() => 10 * GIB, [style, 15 * GIB], [style, 15 * GIB])).toEqual([style, style]);
});

test('other weights, and those of a job that did not end, are not', async () => {
  const both = ['siglip2', 'qwen2.5-vl'];
  expect(await told(() => 99 * GIB, [['siglip2'], GIB], [both, GIB])).toEqual([
    ['siglip2'],
    ['siglip2, read before', 'qwen2.5-vl'],
  ]);
  expect(await told(() => 99 * GIB, [both, GIB, true], [both, GIB])).toEqual([both, both]);
});

test('weights that wait in the engine are read by nobody', async () => {
  const kept = ['siglip2, in memory', 'style'];
  const jobs = [kept, kept].map((steps) => [steps, GIB] as const);
  expect(await told(() => 99 * GIB, ...jobs)).toEqual([kept, ['siglip2, in memory', 'style, read before']]);
});

test('memory that goes while a job runs changes nothing of it', async () => {
  const sizes = [9, 9, 0, 0].map((size) => size * GIB);
  expect(await told(() => sizes.shift() ?? 0, [['a'], GIB], [['a'], GIB])).toEqual([['a'], ['a, read before']]);
});

test('after a job at the disk’s speed, the next one’s time left starts near what it takes', () => {
  const cold = new Map([['cpu: dinov3', 10 / 27]]);
  const left = (kind: string): number =>
    new EtaEstimator(cold).update([{ kind, done: 0, total: 10, guess: 1 }], 0)?.left ?? Number.NaN;
  expect(left('cpu: dinov3')).toBeCloseTo(27);
  expect(left('cpu: dinov3, read before')).toBeCloseTo(10);
});
