import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import type { EngineEvent, JobResult } from '../contract/engine.ts';
import { jobSchema, outputsOf, type CreateJob, type Job } from '../contract/job.ts';
import { dataFolder } from '../data-folder.ts';
import { runInEngine } from '../engine-process.ts';
import { Devices, onDevice } from '../runners/devices.ts';
import { eightBitFolder } from '../pipelines/eight-bit-folder.ts';
import { findJobModels } from '../pipelines/find-job-models.ts';
import { collectImages } from '../imaging/list-images.ts';
import { weighted } from './image-weights.ts';
import { recordMade } from './record.ts';
import { parseInput } from './weighted-file.ts';
import { resultWords, type Report } from './report.ts';

/** Each command: its arguments as parsed, a report to speak through, a signal that interrupts it. */
export interface CommandContext {
  readonly report: Report;
  readonly signal: AbortSignal;
}

export interface EngineOptions {
  readonly memory: number;
  readonly vram?: number | undefined;
  readonly device: string;
  readonly threads: number;
}

/** How LoRAs are made, whatever the images. */
export interface RecipeOptions extends EngineOptions {
  /** Absent: they are looked for on this machine. */
  readonly models?: string;
  readonly target: string;
  readonly experts: readonly { readonly name: string; readonly strength: number }[];
  readonly dtype: string;
  readonly keyForm: string;
  readonly skipBad?: boolean;
  /** false: embeddings are neither taken from the cache nor kept in it. */
  readonly cache?: boolean;
  /** Encoders' weights in 8 bits. */
  readonly fast?: boolean;
  /** false: what is made is not noted in the library. */
  readonly library?: boolean;
}

export interface CreateOptions extends RecipeOptions {
  readonly output: string;
  /** Each 'IMAGE=WEIGHT'. */
  readonly weight?: readonly string[];
}

export async function create(context: CommandContext, paths: readonly string[], options: CreateOptions): Promise<void> {
  const images = weighted(collectImages(paths), options.weight ?? []);
  const job = parseJob({ ...recipeJob(options), kind: 'create', sets: [{ output: loraPath(options.output), images }] });
  const result = await runCreateJob(context, job as CreateJob, options);
  context.report.result(resultWords(result), result);
}

/** Runs it, and notes in the library what it made. */
export async function runCreateJob(
  context: CommandContext,
  job: CreateJob,
  { library = true }: Pick<RecipeOptions, 'library'>,
): Promise<JobResult> {
  const made = new Set<string>();
  const result = await runEngineJob(context, job, (event) => {
    if (event.type === 'lora') made.add(event.output);
  });
  if (library) await recordMade(context, job, made);
  return result;
}

const CACHE_LIMIT = 2 * 2 ** 30;

/** The part of a create job that the recipe's options make. */
export function recipeJob(options: RecipeOptions): object {
  const { models, target, experts, dtype, keyForm, skipBad = false, cache = true } = options;
  const kept = { folder: join(dataFolder(), 'cache', 'embeddings'), limit: CACHE_LIMIT };
  return {
    ...engineOf(options),
    ...modelsOf(models),
    target,
    experts,
    dtype,
    keyForm,
    skipBad,
    ...(cache ? { cache: kept } : {}),
    ...eightBitOf(options),
  };
}

export function eightBitOf({ fast = false }: Pick<RecipeOptions, 'fast'>): Pick<CreateJob, 'eightBit'> {
  return fast ? { eightBit: { folder: eightBitFolder(dataFolder()) } } : {};
}

export type EncodeOptions = EngineOptions &
  Pick<CreateOptions, 'models' | 'output' | 'skipBad' | 'fast'> & { readonly experts: readonly string[] };

export async function encode(context: CommandContext, paths: readonly string[], options: EncodeOptions): Promise<void> {
  await runAndReport(context, {
    ...engineOf(options),
    kind: 'encode',
    images: collectImages(paths),
    ...modelsOf(options.models),
    experts: options.experts,
    output: loraPath(options.output),
    skipBad: options.skipBad ?? false,
    ...eightBitOf(options),
  });
}

export type DecodeOptions = EngineOptions &
  Pick<CreateOptions, 'output' | 'dtype' | 'keyForm'> & { readonly expert: readonly string[] };

export async function decode(context: CommandContext, embeddings: string, options: DecodeOptions): Promise<void> {
  await runAndReport(context, {
    ...engineOf(options),
    kind: 'decode',
    embeddings: resolve(embeddings),
    experts: options.expert.map(parseInput),
    output: loraPath(options.output),
    dtype: options.dtype,
    keyForm: options.keyForm,
  });
}

/** A job that was given no --models is told where they lie. @throws I2lError MODEL_MISSING */
export async function withModels<J extends Job>(job: J, signal: AbortSignal): Promise<J> {
  // It takes longer to load than the rest.
  return findJobModels(job, async () => (await import('./model-store.ts')).openStore(), signal);
}

export function modelsOf(folder: string | undefined): { readonly models?: string } {
  return folder === undefined ? {} : { models: resolve(folder) };
}

export async function runAndReport(context: CommandContext, job: object): Promise<void> {
  const result = await runEngineJob(context, job);
  context.report.result(resultWords(result), result);
}

/** Checks a job and runs it in the engine. */
export async function runEngineJob(
  { report, signal }: CommandContext,
  job: object,
  onEvent: (event: EngineEvent) => void = () => undefined,
): Promise<JobResult> {
  const parsed = await withModels(parseJob(job), signal);
  for (const output of outputsOf(parsed)) makeFolderOf(output);
  const tell = (event: EngineEvent): void => {
    report.event(event);
    onEvent(event);
  };
  const start = onDevice(new Devices({ dataFolder: dataFolder() }), runInEngine);
  return start(parsed, { onEvent: tell, signal });
}

/** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
function makeFolderOf(output: string): void {
  try {
    mkdirSync(dirname(output), { recursive: true });
  } catch (error) {
    throw fileError(output, 'write', error);
  }
}

/** @throws I2lError BAD_ARGUMENT that says what was expected of which option */
export function parseJob(job: object): Job {
  const parsed = jobSchema.safeParse(job);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = String(issue?.path.at(-1) ?? 'job');
  const option = OPTION_OF[field] ?? field;
  throw new I2lError('BAD_ARGUMENT', `${optionName(option)}: ${issue?.message ?? 'not usable'}.`, { option });
}

/** Fields that the command line calls otherwise. */
const OPTION_OF: Readonly<Record<string, string>> = { share: 'energy', cap: 'rank', name: 'experts', images: 'weight' };

function optionName(field: string): string {
  return `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function engineOf({ memory, vram, device, threads }: EngineOptions): EngineOptions {
  return { memory, vram, device, threads };
}

/** @throws I2lError BAD_ARGUMENT for another ending: programs tell the format by it */
export function loraPath(output: string): string {
  if (output.endsWith('.safetensors')) return resolve(output);
  throw new I2lError('BAD_ARGUMENT', `${output}: the output's name must end in .safetensors.`, { option: 'output' });
}
