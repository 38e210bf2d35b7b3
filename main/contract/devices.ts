import { z } from 'zod';

/** What computes: the CPU, and the devices that the runtime may have a provider for. */

export const DEVICES = ['cpu', 'cuda', 'webgpu', 'dml', 'coreml'] as const;
export type Device = (typeof DEVICES)[number];

/** What a user asks for; 'auto': the first that passes its test and is faster than the CPU. */
export const DEVICE_CHOICES = ['auto', ...DEVICES] as const;
export type DeviceChoice = (typeof DEVICE_CHOICES)[number];

/** How a device failed: other results than the CPU's; not taken by the runtime; a test without an answer, or that took its process with it; a job. */
export const DEVICE_FAULTS = ['differs', 'refused', 'silent', 'crashed', 'let-down'] as const;

/** What came of a device's test. */
export const deviceOutcomeSchema = z.discriminatedUnion('state', [
  z.object({
    state: z.literal('passed'),
    /** The relative difference from the CPU of each kind of network. */
    differences: z.record(z.string(), z.number()),
    /** The same block on the device and on the CPU. */
    seconds: z.number(),
    cpuSeconds: z.number(),
  }),
  /** This build of the runtime has no provider for it. */
  z.object({ state: z.literal('absent') }),
  z.object({
    state: z.literal('failed'),
    fault: z.enum(DEVICE_FAULTS),
    /** In English, with what the driver said. */
    why: z.string(),
    /** The kind of network whose results differ. */
    network: z.string().optional(),
  }),
]);
export type DeviceOutcome = z.infer<typeof deviceOutcomeSchema>;
export type DeviceFailure = Extract<DeviceOutcome, { state: 'failed' }>;

export const deviceReportSchema = z.object({
  device: z.enum(DEVICES),
  /** Null: not tested yet on this machine with this driver. The CPU needs no test. */
  outcome: deviceOutcomeSchema.nullable(),
  testedAt: z.number().nullable(),
  /** Whether 'auto' means this one. */
  isAuto: z.boolean(),
});
export type DeviceReport = z.infer<typeof deviceReportSchema>;
