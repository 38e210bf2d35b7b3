import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DEVICE_CHOICES, EngineEvent } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import type { TensorMap } from '../contract/tensor.ts';
import { dinov3, dinov3Stages, type Dinov3Config } from '../networks/dinov3.ts';
import { layoutOf } from '../networks/network.ts';
import { CheckpointScope } from '../networks/scope.ts';
import { joinStages } from '../offload/stage.ts';
import { graphOptionsFor, offeredDevices, Session, type Device } from '../onnx/runtime.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { mulberry32, writeSynthetic } from '../weights/synthetic.ts';

/**
 * Before a device is used, a small transformer with bf16 weights runs on it and on the CPU: a driver that
 * is missing, broken or wrong is found here and not in the user's LoRA. Its 69 tokens are more than one
 * workgroup's: with 21, a wrong attention on WebGPU passed.
 */
const CHECKED: Dinov3Config = {
  layers: 1, width: 64, heads: 2, mlpWidth: 128, patch: 16, registers: 4, imageSize: 128, ropeTheta: 100, epsilon: 1e-5,
}; // prettier-ignore

/** Relative difference that rounding in another order may make; a wrong kernel makes much more. */
const TOLERANCE = 1e-3;

/** In the order in which they are tried where the user leaves the choice to us. */
const PREFERRED: readonly Device[] = ['cuda', 'dml', 'coreml', 'webgpu'];

type DeviceChoice = (typeof DEVICE_CHOICES)[number];

/**
 * The device that a job runs on: the one asked for if it passes the check, else the CPU, with a note that
 * says why. 'auto' takes the first device that passes and is faster than the CPU at the check.
 */
export async function chooseDevice(choice: DeviceChoice, threads: number, emit: (event: EngineEvent) => void): Promise<Device> {
  if (choice === 'cpu') return 'cpu';
  const offered = offeredDevices();
  const candidates = choice === 'auto' ? PREFERRED.filter((device) => offered.includes(device)) : [choice];
  for (const device of candidates) {
    const outcome = offered.includes(device) ? await checkDevice(device, threads) : refused('this build does not offer it');
    const slow = choice === 'auto' && outcome.ok && outcome.seconds > outcome.cpuSeconds;
    if (outcome.ok && !slow) return device;
    const why = outcome.ok ? 'it is slower than the CPU' : outcome.why;
    // A machine without a GPU is no news; a device that was asked for is.
    if (choice !== 'auto')
      emit({ type: 'note', message: `The device ${device} can't be used (${why}); the CPU is used in its place.` });
  }
  return 'cpu';
}

type CheckOutcome =
  | { readonly ok: true; readonly difference: number; readonly seconds: number; readonly cpuSeconds: number }
  | { readonly ok: false; readonly why: string };

function refused(why: string): CheckOutcome {
  return { ok: false, why };
}

/** Runs the check block on a device and on the CPU, and compares. */
export async function checkDevice(device: Device, threads: number): Promise<CheckOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'i2l-check-'));
  try {
    const path = join(folder, 'check.safetensors');
    writeSynthetic(path, layoutOf(dinov3, CHECKED), { seed: 1 });
    const cpu = await runBlock(path, 'cpu', threads);
    const other = await runBlock(path, device, threads);
    const difference = relativeDifference(other.values, cpu.values);
    if (!(difference <= TOLERANCE)) return refused(`its result differs from the CPU's by ${difference.toExponential(1)}`);
    return { ok: true, difference, seconds: other.seconds, cpuSeconds: cpu.seconds };
  } catch (error) {
    return refused(reason(error));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runBlock(path: string, device: Device, threads: number): Promise<{ values: Float32Array; seconds: number }> {
  const { stages } = dinov3Stages(new CheckpointScope(Checkpoint.open(path)), CHECKED);
  const session = await Session.create(joinStages(stages, new Set(), graphOptionsFor(device)).graph.build(), { device, threads });
  try {
    await session.run(inputs()); // Shaders are compiled by the first run.
    const started = performance.now();
    const results = await session.run(inputs());
    const seconds = (performance.now() - started) / 1000;
    return { values: results['embedding']?.data as Float32Array, seconds };
  } finally {
    await session.release();
  }
}

function inputs(): TensorMap {
  const side = CHECKED.imageSize;
  const next = mulberry32(7);
  return { pixels: { data: Float32Array.from({ length: 3 * side * side }, () => 2 * next() - 1), dims: [1, 3, side, side] } };
}

function relativeDifference(got: Float32Array, wanted: Float32Array): number {
  let difference = 0;
  let norm = 0;
  wanted.forEach((value, i) => {
    difference += ((got[i] ?? Number.NaN) - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
}

function reason(error: unknown): string {
  const known = I2lError.from(error);
  return known.message.length > 200 ? `${known.message.slice(0, 200)}...` : known.message;
}
