import type { Device } from '../contract/devices.ts';
import type { Amount } from '../onnx/cost.ts';

/**
 * What the engine's process takes before any stage: Node with the runtime and its threads, and what the garbage
 * collector has not yet given back (measured on Linux x64: 150 to 190 MB). test/budget holds it to that.
 */
export const ENGINE_BASELINE_BYTES = 192 << 20;

/** What a process holds on to of jobs that it has done (measured: up to 72 MiB), beside what is kept for the next on purpose. */
export const USED_ENGINE_BYTES = 64 << 20;

/** What a device's driver takes beside that, for the most part while it compiles (measured with a software driver: 230 MB). */
const DRIVER_BYTES = 224 << 20;

/** Bytes that are taken before any stage. */
export function baselineOf({ fixed, perImage }: Amount, images: number, device: Device): number {
  return ENGINE_BASELINE_BYTES + (device === 'cpu' ? 0 : DRIVER_BYTES) + fixed + perImage * images;
}
