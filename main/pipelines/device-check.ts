import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cutText } from '../contract/cut-text.ts';
import type { Device, DeviceOutcome } from '../contract/devices.ts';
import type { JobResult } from '../contract/engine.ts';
import type { CheckDeviceJob } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import { CheckpointScope } from '../networks/scope.ts';
import { joinStages } from '../offload/stage.ts';
import { graphOptionsFor, offeredDevices, Session } from '../onnx/runtime.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import { writeSynthetic } from '../weights/synthetic.ts';
import { temporaryPath } from '../weights/write-safetensors.ts';
import { threadsOf, type PipelineContext } from './context.ts';
import { DEVICE_BLOCKS, TIMED_BLOCK, type DeviceBlock } from './device-blocks.ts';

/**
 * Before a device is used, a small network of every kind with bf16 weights runs on it and on the CPU: a driver that
 * is missing, broken or wrong is found here and not in the user's LoRA.
 */

/** Relative difference that rounding in another order may make; a wrong kernel makes much more. */
const TOLERANCE = 1e-3;

/** The job that tests a device; in a process of its own, since a driver may take the process with it. */
export async function checkDeviceJob({ signal }: PipelineContext, { device, threads }: CheckDeviceJob): Promise<JobResult> {
  const started = performance.now();
  if (device === 'auto' || device === 'cpu') throw new I2lError('BAD_ARGUMENT', `${device} is no device to test.`, { device });
  const check = await checkDevice(device, threadsOf(threads), signal);
  const seconds = (performance.now() - started) / 1000;
  const peakMemory = 1024 * process.resourceUsage().maxRSS;
  return { type: 'done', check, device, seconds, weightBytes: 0, peakMemory, networks: [] };
}

/** Runs every block on a device and on the CPU, and compares. */
export async function checkDevice(device: Device, threads: number, signal?: AbortSignal): Promise<DeviceOutcome> {
  if (!offeredDevices().includes(device)) return { state: 'absent' };
  const place = join(tmpdir(), 'i2l-check');
  // Of tests that took their process with them.
  removeStaleParts(place);
  const folder = temporaryPath(place);
  try {
    mkdirSync(folder, { mode: 0o700 });
    const differences: Record<string, number> = {};
    for (const block of DEVICE_BLOCKS) {
      if (signal?.aborted) throw new I2lError('CANCELLED', 'The test was cancelled.');
      const { difference } = await compare(block, device, threads, folder);
      if (!(difference <= TOLERANCE)) return differs(block.name, difference);
      differences[block.name] = difference;
    }
    const { seconds, cpuSeconds } = await compare(TIMED_BLOCK, device, threads, folder);
    return { state: 'passed', differences, seconds, cpuSeconds };
  } catch (error) {
    const known = I2lError.from(error);
    if (known.code === 'CANCELLED') throw known;
    return { state: 'failed', fault: 'refused', why: cutText(known.message, MOST_WHY) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A runtime tells of its sources, too. */
const MOST_WHY = 200;

function differs(network: string, difference: number): DeviceOutcome {
  const why = `its result for ${network} differs from the CPU's by ${difference.toExponential(1)}`;
  return { state: 'failed', fault: 'differs', why, network };
}

interface Comparison {
  readonly difference: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

async function compare(block: DeviceBlock, device: Device, threads: number, folder: string): Promise<Comparison> {
  const path = join(folder, `${block.name}.safetensors`);
  writeSynthetic(path, block.layout, { seed: 1 });
  const cpu = await runBlock(block, path, 'cpu', threads);
  const other = await runBlock(block, path, device, threads);
  const difference = Math.max(
    ...Object.entries(cpu.results).map(([name, wanted]) => relativeDifference(other.results[name], wanted)),
  );
  return { difference, seconds: other.seconds, cpuSeconds: cpu.seconds };
}

type Results = Record<string, HostTensor>;

async function runBlock(
  { stages, inputs }: DeviceBlock,
  path: string,
  device: Device,
  threads: number,
): Promise<{ results: Results; seconds: number }> {
  const { graph } = joinStages(stages(new CheckpointScope(Checkpoint.open(path))), new Set(), graphOptionsFor(device));
  const session = await Session.create(graph.build(), { device, threads });
  try {
    await session.run(inputs()); // Shaders are compiled by the first run.
    const started = performance.now();
    const results = await session.run(inputs());
    return { results, seconds: (performance.now() - started) / 1000 };
  } finally {
    await session.release();
  }
}

function relativeDifference(got: HostTensor | undefined, wanted: HostTensor): number {
  let difference = 0;
  let norm = 0;
  wanted.data.forEach((value: number | bigint, i: number) => {
    difference += (Number(got?.data[i] ?? Number.NaN) - Number(value)) ** 2;
    norm += Number(value) ** 2;
  });
  return Math.sqrt(difference / norm);
}
