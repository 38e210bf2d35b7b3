import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { fileError, I2lError } from '../contract/errors.ts';
import type { Stage } from '../offload/stage.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import { fingerprintOf, type Layout } from '../weights/fingerprint.ts';
import { CheckpointScope, recordLayout, type Scope } from './scope.ts';

/**
 * What every network's file gives: how to tell it, how big it is, what it reads and what it computes.
 * To add one, see "How to add a network" in main/README.md.
 */
export interface Network<Config> {
  readonly id: string;
  /** For people, e.g. 'SigLIP2 vision tower'. */
  readonly title: string;
  /** Published checkpoints by their catalogue id, with the sizes that no file says. */
  readonly published: Readonly<Record<string, Config>>;
  /**
   * Sizes as far as names and shapes tell; undefined if the tensors are not of this architecture.
   * `told` is what a config.json says, for sizes that shapes hold only together.
   */
  readonly sizes: (checkpoint: Checkpoint, told: Partial<Config>) => Partial<Config> | undefined;
  /** The sizes, complete. */
  readonly schema: z.ZodType<Config>;
  /** What a Hugging Face config.json beside the file adds. */
  readonly fromJson: (json: unknown) => Partial<Config>;
  /** Names every tensor of the checkpoint, with its shape, and keeps those that the stages use. */
  readonly read: (scope: Scope, config: Config) => unknown;
}

/** Every tensor of a network of these sizes, as the network itself reads them. */
export function layoutOf<Config>(network: Network<Config>, config: Config): Layout {
  return recordLayout((scope) => network.read(scope, config));
}

/** The sizes of a checkpoint, and the catalogue id if its layout is a published one. */
export interface Recognised<Config> {
  readonly publishedId: string | undefined;
  readonly config: Config;
}

/**
 * Finds a checkpoint's sizes: from the published fingerprint, else from its tensors' shapes and the
 * config.json beside it.
 * @throws I2lError MODEL_UNRECOGNISED (another architecture), CONFIG_INVALID (the two disagree, or heads
 * and the like are nowhere told)
 */
export function recognise<Config extends object>(
  network: Network<Config>,
  checkpoint: Checkpoint,
  configPath: string | undefined,
): Recognised<Config> {
  const fingerprint = checkpoint.fingerprint();
  for (const [publishedId, config] of Object.entries(network.published)) {
    if (fingerprint === publishedFingerprint(network, config)) return { publishedId, config };
  }
  // The tensors first: another network's config.json says nothing against this one.
  if (!network.sizes(checkpoint, {})) throw unrecognised(network, checkpoint);
  const fromJson = configPath === undefined ? {} : configFrom(network, configPath);
  const sizes = network.sizes(checkpoint, fromJson) ?? {};
  for (const [key, size] of Object.entries(sizes)) {
    const other = (fromJson as Record<string, unknown>)[key];
    if (size !== undefined && other !== undefined && other !== size) {
      throw configError(
        configPath ?? checkpoint.path,
        `${key} is ${String(other)}, and the tensors of ${checkpoint.path} say ${String(size)}`,
      );
    }
  }
  const parsed = network.schema.safeParse({ ...fromJson, ...sizes });
  if (!parsed.success) throw configError(configPath ?? checkpoint.path, whyUnusable(parsed.error.issues));
  checkLayout(network, parsed.data, checkpoint);
  return { publishedId: undefined, config: parsed.data };
}

const fingerprints = new WeakMap<object, string>();

/** Of a published config; made once, since whoever looks through folders asks it of every file. */
function publishedFingerprint<Config extends object>(network: Network<Config>, config: Config): string {
  const known = fingerprints.get(config) ?? fingerprintOf(layoutOf(network, config));
  fingerprints.set(config, known);
  return known;
}

/** A checkpoint with tensors that the network doesn't know is of another model, whatever the rest says. */
function checkLayout<Config>(network: Network<Config>, config: Config, checkpoint: Checkpoint): void {
  network.read(new CheckpointScope(checkpoint), config);
  const expected = new Set(layoutOf(network, config).map(({ name }) => name));
  const extra = [...checkpoint.names].filter((name) => !expected.has(name));
  if (extra.length > 0) {
    const message = `${checkpoint.path}: ${extra.length} tensors are not part of a ${network.title}, "${extra[0] ?? ''}" first.`;
    throw new I2lError('MODEL_UNRECOGNISED', message, { file: checkpoint.path, extra: extra.slice(0, 20) });
  }
}

/** Number of consecutive indices i from 0 for which a tensor of this name exists. */
export function countBlocks(checkpoint: Checkpoint, nameOf: (i: number) => string): number {
  let count = 0;
  while (checkpoint.has(nameOf(count))) count++;
  return count;
}

/** Sides of a square grid of `count` cells. */
export function gridSide(count: number): number | undefined {
  const side = Math.round(Math.sqrt(count));
  return side * side === count ? side : undefined;
}

/** Sizes that no file says, or else sizes that can't be. */
function whyUnusable(issues: readonly z.core.$ZodIssue[]): string {
  const missing = issues.filter(({ code }) => code === 'invalid_type').map(({ path }) => path.join('.'));
  if (missing.length > 0) return `${missing.join(', ')} can't be told from the tensors; put a config.json beside the file`;
  return issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
}

/** What a config.json says. @throws I2lError CONFIG_INVALID that names it */
function configFrom<Config>(network: Network<Config>, path: string): Partial<Config> {
  const json = readJson(path);
  try {
    return network.fromJson(json);
  } catch (error) {
    const { code, fields } = I2lError.from(error);
    throw code === 'CONFIG_INVALID' ? configError(path, String(fields['why'])) : error;
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) throw configError(path, 'it is not valid JSON');
    throw fileError(path, 'read', error);
  }
}

/** Parses the part of a config.json that a network knows. @throws I2lError CONFIG_INVALID */
export function parseConfig<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw configError('config.json', [...(issue?.path ?? []), issue?.message ?? 'not usable'].join(': '));
}

/** Only what is told: a size that a config.json leaves out comes from the tensors. */
export function told<Config>(sizes: { readonly [Key in keyof Config]?: Config[Key] | undefined }): Partial<Config> {
  return Object.fromEntries(Object.entries(sizes).filter(([, size]) => size !== undefined)) as Partial<Config>;
}

function configError(file: string, why: string): I2lError {
  return new I2lError('CONFIG_INVALID', `${file}: ${why}.`, { file, why });
}

function unrecognised<Config>(network: Network<Config>, checkpoint: Checkpoint): I2lError {
  return new I2lError('MODEL_UNRECOGNISED', `${checkpoint.path}: this is not a ${network.title}.`, {
    file: checkpoint.path,
    expected: network.id,
  });
}

export interface EncoderStages {
  readonly stages: readonly Stage[];
  /** Square input side in pixels. */
  readonly imageSize: number;
  /** Values of one embedding. */
  readonly width: number;
}
