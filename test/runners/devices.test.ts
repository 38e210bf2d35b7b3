import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DeviceOutcome } from '../../main/contract/devices.ts';
import type { EngineEvent, JobResult } from '../../main/contract/engine.ts';
import type { DecodeJob, Job, SpectrumJob } from '../../main/contract/job.ts';
import { I2lError } from '../../main/contract/errors.ts';
import { Devices, onDevice } from '../../main/runners/devices.ts';
import type { StartEngine } from '../../main/runners/engine-job.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let count = 0;

const DONE: JobResult = { type: 'done', device: 'cpu', seconds: 1, weightBytes: 0, peakMemory: 1, networks: [] };
const passed = (seconds: number): DeviceOutcome => ({ state: 'passed', differences: { dinov3: 1e-6 }, seconds, cpuSeconds: 1 });
const crash = new I2lError('ENGINE_CRASHED', 'The engine ended without an answer (signal SIGSEGV).');

/** Engines that find webgpu as it is said here, and run other jobs as told; what was started is kept. */
function setUp(webgpu: DeviceOutcome | I2lError, work: (job: Job) => JobResult | I2lError = () => DONE) {
  const dataFolder = join(base, `${count++}`);
  const started: string[] = [];
  let time = 1e12;
  const start: StartEngine = (job) => {
    started.push(`${job.kind} ${job.device}${job.vram === undefined ? '' : ` ${job.vram / 2 ** 20} MiB`}`);
    const absent: DeviceOutcome = { state: 'absent' };
    const check = job.device === 'webgpu' ? webgpu : absent;
    const answer = job.kind === 'check-device' ? (check instanceof I2lError ? check : { ...DONE, check }) : work(job);
    return answer instanceof I2lError ? Promise.reject(answer) : Promise.resolve(answer);
  };
  const open = (): Devices => new Devices({ dataFolder, start, now: () => time });
  const events: EngineEvent[] = [];
  const notes = (): string[] => events.map((event) => (event.type === 'note' ? event.message : event.type));
  const run = (job: Job): Promise<JobResult> => onDevice(open(), start)(job, { onEvent: (event) => events.push(event) });
  const pass = (milliseconds: number): void => void (time += milliseconds);
  return { dataFolder, started, open, run, notes, pass };
}

const job = (device: DecodeJob['device']): DecodeJob => ({
  ...{ kind: 'decode', embeddings: '/e', experts: [{ file: '/x', strength: 1 }], output: '/o', dtype: 'bf16' },
  ...{ keyForm: 'comfyui', memory: 2 ** 30, device, threads: 0 },
});

describe('which device a job runs on', () => {
  test('the first that passes and is faster, tested once and remembered', async () => {
    const { run, started, open } = setUp(passed(0.1));
    await run(job('auto'));
    await run(job('auto'));
    expect(started.filter((what) => what === 'check-device webgpu')).toHaveLength(1);
    expect(started.filter((what) => what.startsWith('decode'))).toEqual(['decode webgpu', 'decode webgpu']);
    expect(
      open()
        .list()
        .filter(({ isAuto }) => isAuto),
    ).toMatchObject([{ device: 'webgpu', testedAt: 1e12 }]);
  });

  test.each([
    ['slower than the CPU', passed(1.5)],
    ['wrong', { state: 'failed', fault: 'differs', why: 'its result differs' } as const],
    ['one whose test takes the process with it', crash],
  ])('the CPU where there is but a device that is %s, and nothing is said of it', async (_, webgpu) => {
    const { run, started, notes, open } = setUp(webgpu);
    await run(job('auto'));
    expect([started.at(-1), notes()]).toEqual(['decode cpu', []]);
    expect(
      open()
        .list()
        .find(({ isAuto }) => isAuto)?.device,
    ).toBe('cpu');
  });

  test('one that is asked for is taken though it is slower; one that fails is tested again, and the reason told', async () => {
    const slow = setUp(passed(1.5));
    await slow.run(job('webgpu'));
    expect(slow.started.at(-1)).toBe('decode webgpu');
    const broken = setUp(crash);
    await broken.run(job('webgpu'));
    await broken.run(job('webgpu'));
    expect(broken.started).toEqual(['check-device webgpu', 'decode cpu', 'check-device webgpu', 'decode cpu']);
    expect(broken.notes()[0]).toMatch(
      /^The device webgpu can't be used \(its test took the process with it: .*SIGSEGV.*\); the CPU/,
    );
    const lacking = setUp(passed(0.1));
    const other = process.platform === 'win32' ? 'coreml' : 'dml';
    await lacking.run(job(other));
    expect(lacking.started).toEqual(['decode cpu']);
    expect(lacking.notes()).toEqual([
      `The device ${other} can't be used (this build does not offer it); the CPU is used in its place.`,
    ]);
  });

  test('nothing is tested for jobs on the CPU, and for those that know no other device', async () => {
    const { run, started } = setUp(passed(0.1));
    await run(job('cpu'));
    const spectrum: SpectrumJob = { kind: 'spectrum', file: '/a', output: '/b', memory: 1, device: 'auto', threads: 0 };
    await run(spectrum);
    expect(started).toEqual(['decode cpu', 'spectrum cpu']);
  });

  test('a test is forgotten after two weeks, on another machine, and if its file is damaged', async () => {
    const { run, started, pass, dataFolder } = setUp(passed(0.1));
    const tests = (): number => started.filter((what) => what === 'check-device webgpu').length;
    const file = join(dataFolder, 'devices.json');
    await run(job('auto'));
    pass(13 * 24 * 3_600_000);
    await run(job('auto'));
    expect(tests()).toBe(1);
    pass(2 * 24 * 3_600_000);
    await run(job('auto'));
    expect(tests()).toBe(2);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"machine": "[^;]*/, '"machine": "0.0.0-other'));
    await run(job('auto'));
    expect(tests()).toBe(3);
    writeFileSync(file, '{"machine": 1');
    await run(job('auto'));
    expect(tests()).toBe(4);
  });
});

describe('a device that fails in the middle of a job', () => {
  test.each([
    crash,
    new I2lError('SESSION_FAILED', 'block 3: A stage could not be run (webgpu): device lost'),
    new I2lError('NOT_FINITE', 'block 3: not finite'),
  ])('gives way to the CPU with a note, and is not taken again by itself: $code', async (error) => {
    const { run, started, notes, open } = setUp(passed(0.1), ({ device }) => (device === 'webgpu' ? error : DONE));
    expect(await run(job('auto'))).toEqual(DONE);
    expect(started.slice(-3)).toEqual(['decode webgpu', 'decode webgpu 1024 MiB', 'decode cpu']);
    expect(notes()).toEqual([
      `The device webgpu failed (${error.message}); the job goes on there with stages of at most 1024 MiB.`,
      `The device webgpu failed (${error.message}); the job goes on on the CPU.`,
    ]);
    await run(job('auto'));
    expect(started.at(-1)).toBe('decode cpu');
    expect(
      open()
        .list()
        .find(({ device }) => device === 'webgpu')?.outcome,
    ).toMatchObject({ state: 'failed' });
  });

  test('one whose memory ran out goes on there with smaller stages, and stays trusted', async () => {
    const full = new I2lError('SESSION_FAILED', 'out of memory');
    const { run, started, open } = setUp(passed(0.1), ({ device, vram }) =>
      device === 'webgpu' && vram === undefined ? full : DONE,
    );
    await run(job('auto'));
    expect(started.at(-1)).toBe('decode webgpu 1024 MiB');
    expect(
      open()
        .list()
        .find(({ isAuto }) => isAuto)?.device,
    ).toBe('webgpu');
  });

  test('where no stage is as small, the CPU is left', async () => {
    const errors = [new I2lError('SESSION_FAILED', 'out of memory'), new I2lError('MEMORY_BUDGET', 'needs 2048MiB')];
    const { run, started } = setUp(passed(0.1), ({ device }) => (device === 'webgpu' ? errors.shift()! : DONE));
    await run({ ...job('auto'), vram: 2 ** 31 });
    expect(started.slice(-3)).toEqual(['decode webgpu 2048 MiB', 'decode webgpu 1024 MiB', 'decode cpu 2048 MiB']);
  });

  test('what is not the device’s fault is the job’s error', async () => {
    const full = new I2lError('DISK_FULL', 'full');
    const { run, started, open } = setUp(passed(0.1), () => full);
    expect(await rejectionOf(run(job('auto')))).toBe(full);
    expect(started.at(-1)).toBe('decode webgpu');
    expect(
      open()
        .list()
        .find(({ isAuto }) => isAuto)?.device,
    ).toBe('webgpu');
  });

  test('a crash on the CPU is a crash', async () => {
    const { run, started } = setUp({ state: 'absent' }, () => crash);
    expect(await rejectionOf(run(job('auto')))).toBe(crash);
    expect(started.at(-1)).toBe('decode cpu');
  });
});

test('a test in a real engine says what this machine has', async () => {
  const dataFolder = join(base, 'real');
  const devices = new Devices({ dataFolder });
  const reports = await devices.testAll();
  expect(reports.map(({ device }) => device)).toEqual(['cpu', 'cuda', 'webgpu', 'dml', 'coreml']);
  expect(reports.filter(({ outcome }) => outcome === null)).toMatchObject([{ device: 'cpu' }]);
  expect(reports.filter(({ isAuto }) => isAuto)).toHaveLength(1);
  expect(existsSync(join(dataFolder, 'devices.json'))).toBe(true);
});
