import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus, platform, release } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import {
  deviceOutcomeSchema,
  DEVICES,
  type Device,
  type DeviceChoice,
  type DeviceOutcome,
  type DeviceReport,
} from '../contract/devices.ts';
import type { EngineEvent } from '../contract/engine.ts';
import type { Job } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { note, type Note } from '../contract/notes.ts';
import { runInEngine } from '../engine-process.ts';
import { VERSION } from '../pipelines/version.ts';
import { publishOver, writePart } from '../weights/atomic-copy.ts';
import { makeFolder } from '../weights/make-folder.ts';
import type { StartEngine } from './engine-job.ts';

/** In the order in which they are tried where the user leaves the choice to us. */
const PREFERRED: readonly Device[] = ['cuda', 'dml', 'coreml', 'webgpu'];

/** Systems that the runtime may have a provider on; elsewhere nothing has to be started to know. */
const SYSTEMS: Readonly<Partial<Record<Device, readonly NodeJS.Platform[]>>> = {
  cuda: ['linux', 'win32'],
  dml: ['win32'],
  coreml: ['darwin'],
};

/** Memory that a test is told it may take; its blocks take far less. */
const TEST_MEMORY = 2 ** 30;
/** Drivers change without the system saying so. */
const KEPT_MS = 14 * 24 * 3_600_000;

const FILE_NAME = 'devices.json';

const recordSchema = z.object({
  machine: z.string(),
  tests: z.record(z.string(), z.object({ at: z.number(), outcome: deviceOutcomeSchema })),
});
type Tests = z.infer<typeof recordSchema>['tests'];

export interface DevicesOptions {
  /** Where what tests showed is kept. */
  readonly dataFolder: string;
  readonly start?: StartEngine | undefined;
  readonly now?: (() => number) | undefined;
}

/**
 * The devices of this machine: which of them may be trusted, by a test in a process of its own, since a driver can
 * take the process with it. What a test showed is kept for this driver.
 */
export class Devices {
  readonly #file: string;
  readonly #folder: string;
  readonly #start: StartEngine;
  readonly #now: () => number;

  constructor({ dataFolder, start = runInEngine, now = Date.now }: DevicesOptions) {
    this.#folder = dataFolder;
    this.#file = join(dataFolder, FILE_NAME);
    this.#start = start;
    this.#now = now;
  }

  /** What is known; nothing is run. */
  list(): DeviceReport[] {
    const tests = this.#read();
    const auto = PREFERRED.find((device) => isFaster(tests[device]?.outcome)) ?? 'cpu';
    return DEVICES.map((device) => ({
      device,
      outcome: tests[device]?.outcome ?? (isPossible(device) ? null : { state: 'absent' }),
      testedAt: tests[device]?.at ?? null,
      isAuto: device === auto,
    }));
  }

  /** Tests them all anew. @throws I2lError CANCELLED, DISK_FULL, FILE_WRITE_FAILED */
  async testAll(signal?: AbortSignal): Promise<DeviceReport[]> {
    for (const device of PREFERRED) if (isPossible(device)) await this.#test(device, 0, signal);
    return this.list();
  }

  /**
   * The device that a job runs on: the one asked for if it passes its test, else the CPU, with a note that says why.
   * @throws I2lError CANCELLED, DISK_FULL, FILE_WRITE_FAILED
   */
  async choose(choice: DeviceChoice, threads: number, { emit, signal }: ChooseOptions): Promise<Device> {
    if (choice === 'cpu') return 'cpu';
    const tests = this.#read();
    if (choice === 'auto') {
      for (const device of PREFERRED.filter(isPossible)) {
        if (isFaster(tests[device]?.outcome ?? (await this.#test(device, threads, signal)))) return device;
      }
      return 'cpu';
    }
    const known = tests[choice]?.outcome;
    // One that failed may have been mended since; who asks for it would rather wait a moment.
    const outcome = known?.state === 'passed' ? known : await this.#test(choice, threads, signal);
    if (outcome.state === 'passed') return choice;
    emit({ type: 'note', ...notUsed(choice, outcome) });
    return 'cpu';
  }

  /** It let a job down: it is left alone until it is tested anew. @throws I2lError DISK_FULL, FILE_WRITE_FAILED */
  async distrust(device: Device, why: string): Promise<void> {
    await this.#keep(device, { state: 'failed', fault: 'let-down', why });
  }

  async #test(device: Device, threads: number, signal: AbortSignal | undefined): Promise<DeviceOutcome> {
    const outcome = await this.#outcomeOf(device, threads, signal);
    await this.#keep(device, outcome);
    return outcome;
  }

  async #outcomeOf(device: Device, threads: number, signal: AbortSignal | undefined): Promise<DeviceOutcome> {
    if (!isPossible(device)) return { state: 'absent' };
    const job = { kind: 'check-device' as const, device, threads, memory: TEST_MEMORY };
    try {
      const { check } = await this.#start(job, { onEvent: () => undefined, silenceMs: SILENCE_MS, ...(signal ? { signal } : {}) });
      return check ?? { state: 'failed', fault: 'silent', why: 'its test said nothing' };
    } catch (error) {
      const known = I2lError.from(error);
      if (known.code !== 'ENGINE_CRASHED') throw known;
      return { state: 'failed', fault: 'crashed', why: `its test took the process with it: ${known.message}` };
    }
  }

  /** What was kept for this machine, driver and version; a file that can't be read is as good as none. */
  #read(): Tests {
    try {
      if (!existsSync(this.#file)) return {};
      const { machine, tests } = recordSchema.parse(JSON.parse(readFileSync(this.#file, 'utf8')));
      if (machine !== thisMachine()) return {};
      return Object.fromEntries(Object.entries(tests).filter(([, { at }]) => this.#now() - at < KEPT_MS));
    } catch {
      return {};
    }
  }

  async #keep(device: Device, outcome: DeviceOutcome): Promise<void> {
    const tests = { ...this.#read(), [device]: { at: this.#now(), outcome } };
    await makeFolder(this.#folder);
    const text = `${JSON.stringify({ machine: thisMachine(), tests }, null, 2)}\n`;
    await publishOver(await writePart(this.#file, Buffer.from(text)));
  }
}

function notUsed(device: Device, outcome: Exclude<DeviceOutcome, { state: 'passed' }>): Note {
  const said = (why: string): string => `The device ${device} can't be used (${why}); the CPU is used in its place.`;
  if (outcome.state === 'absent') return note('DEVICE_NOT_OFFERED', said('this build does not offer it'), { device });
  const { fault, why } = outcome;
  return note('DEVICE_TEST_FAILED', said(why), { device, fault, why });
}

interface ChooseOptions {
  readonly emit: (event: EngineEvent) => void;
  readonly signal?: AbortSignal | undefined;
}

function isPossible(device: Device): boolean {
  return SYSTEMS[device]?.includes(platform()) ?? true;
}

function isFaster(outcome: DeviceOutcome | undefined): boolean {
  return outcome?.state === 'passed' && outcome.seconds < outcome.cpuSeconds;
}

/** What a test holds for: another system, processor, driver or version of the app may compute otherwise. */
function thisMachine(): string {
  return [VERSION, platform(), release(), arch(), cpus()[0]?.model ?? '', ...driverTexts()].join('; ');
}

/** What the system says of drivers without loading one. */
function driverTexts(): string[] {
  const nvidia = '/proc/driver/nvidia/version';
  const icd = process.env['VK_ICD_FILENAMES'] ?? process.env['VK_DRIVER_FILES'];
  const first = existsSync(nvidia) ? (readFileSync(nvidia, 'utf8').split('\n')[0] ?? '') : '';
  return [first, icd ?? ''].filter((text) => text !== '');
}

/** The longest that a stage or a test may take on a device: there, a driver may hang for good. */
const SILENCE_MS = 5 * 60_000;

/** A device whose memory ran out may have this much. */
const SMALL_VRAM = 2 ** 30;

/** Errors after which a job is worth a try on the CPU. */
const OF_DEVICE: ReadonlySet<string> = new Set(['SESSION_FAILED', 'ENGINE_CRASHED', 'NOT_FINITE']);

/**
 * Starts jobs on the device that they ask for, if it can be trusted. One that fails on a device goes on there with a
 * smaller plan, then on the CPU, with a note; what it has encoded is in the cache.
 */
export function onDevice(devices: Devices, start: StartEngine): StartEngine {
  return async (job, run) => {
    if (job.device === 'cpu' || job.kind === 'check-device') return start(job, run);
    if (!COMPUTES.has(job.kind)) return start({ ...job, device: 'cpu' }, run);
    const device = await devices.choose(job.device, job.threads, { emit: run.onEvent, signal: run.signal });
    const watched = device === 'cpu' ? run : { ...run, silenceMs: SILENCE_MS };
    const failed = (error: unknown): I2lError => {
      const known = I2lError.from(error);
      if (device === 'cpu' || !OF_DEVICE.has(known.code) || run.signal?.aborted) throw error;
      return known;
    };
    const tell = (said: Note): void => run.onEvent({ type: 'note', ...said });
    try {
      return await start({ ...job, device }, watched);
    } catch (error) {
      const known = failed(error);
      if ((job.vram ?? Infinity) > SMALL_VRAM) {
        tell(withLess(device, known));
        try {
          return await start({ ...job, device, vram: SMALL_VRAM }, watched);
        } catch (again) {
          // Where no stage is as small, the CPU is left.
          if (I2lError.from(again).code !== 'MEMORY_BUDGET') failed(again);
        }
      }
      await devices.distrust(device, `it let a job down: ${known.message}`);
      tell(givenUp(device, known));
      return start({ ...job, device: 'cpu' }, run);
    }
  };
}

function withLess(device: Device, error: I2lError): Note {
  const message = `The device ${device} failed (${error.message}); the job goes on there with stages of at most ${SMALL_VRAM / 2 ** 20} MiB.`;
  return note('DEVICE_WITH_LESS', message, { device, vram: SMALL_VRAM }, error);
}

function givenUp(device: Device, error: I2lError): Note {
  const message = `The device ${device} failed (${error.message}); the job goes on on the CPU.`;
  return note('DEVICE_GIVEN_UP', message, { device }, error);
}

/** The others are the algebra of LoRAs, which is done on the CPU. */
const COMPUTES: ReadonlySet<Job['kind']> = new Set(['create', 'encode', 'decode']);
