import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { fileError } from '../contract/errors.ts';
import type { KeyForm } from '../lora/keys.ts';
import { openLora, rankOf } from '../lora/read-lora.ts';
import { readSafetensors } from '../weights/safetensors.ts';

export interface LoraHashes {
  /** Of the whole file, hex. */
  readonly sha256: string;
  /** First 10 hex of the file's sha256, upper case, as Civitai shows it. */
  readonly autoV2: string;
  /** Of the tensor bytes alone, hex. */
  readonly tensorHash: string;
  /** First 12 hex of the tensor hash, upper case. */
  readonly autoV3: string;
}

export interface LoraSummary extends LoraHashes {
  readonly file: string;
  readonly bytes: number;
  readonly target: string;
  readonly keyForm: KeyForm;
  readonly modules: number;
  readonly rank: { readonly min: number; readonly max: number };
  readonly dtypes: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a LoRA file is and says of itself. @throws I2lError LORA_KEYS and what a damaged file gives */
export function inspectLora(path: string): LoraSummary {
  return atOnce(summarySteps(path));
}

/** The same, by and by: others have their turn before it and between two parts of a large file. @throws I2lError as inspectLora */
export async function readLora(path: string): Promise<LoraSummary> {
  const steps = summarySteps(path);
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    const { done, value } = steps.next();
    if (done) return value;
  }
}

function* summarySteps(path: string): Steps<LoraSummary> {
  const lora = openLora(path);
  const { file, modules, keyForm } = lora;
  return {
    file: path,
    bytes: file.size,
    target: targetOf(modules.map((module) => module.path)),
    keyForm,
    modules: modules.length,
    rank: { min: modules.reduce((smallest, { rank }) => Math.min(smallest, rank), Infinity), max: rankOf(lora) },
    dtypes: [...new Set([...file.tensors.values()].map(({ dtype }) => dtype))].sort(),
    metadata: file.metadata,
    ...(yield* hashSteps(path)),
  };
}

/** The target by the names of its blocks; another model's LoRA has none. */
export function targetOf(paths: readonly string[]): string {
  if (paths.some((path) => /^transformer_blocks\.\d+\.(attn|img_|txt_)/.test(path))) return 'qwen-image';
  if (paths.some((path) => /^(layers|context_refiner|noise_refiner)\.\d+\.(attention|feed_forward)\./.test(path))) return 'z-image';
  return 'unknown';
}

const CHUNK = 8 << 20;

/** Both hashes in one pass over the file. */
function* hashSteps(path: string): Steps<LoraHashes> {
  const { dataOffset, file } = readSafetensors(path);
  const whole = createHash('sha256');
  const tensors = createHash('sha256');
  for (const { bytes, end } of chunks(file, 0)) {
    whole.update(bytes);
    if (end > dataOffset) tensors.update(bytes.subarray(Math.max(0, dataOffset - (end - bytes.length))));
    yield;
  }
  const [sha256, tensorHash] = [whole.digest('hex'), tensors.digest('hex')];
  return { sha256, tensorHash, autoV2: sha256.slice(0, 10).toUpperCase(), autoV3: tensorHash.slice(0, 12).toUpperCase() };
}

/** The sha256 of the tensor bytes alone, hex. */
export function hashTensors(path: string): string {
  const { dataOffset, file } = readSafetensors(path);
  const tensors = createHash('sha256');
  for (const { bytes } of chunks(file, dataOffset)) tensors.update(bytes);
  return tensors.digest('hex');
}

/** Work that can be left between its steps. */
type Steps<Result> = Generator<void, Result>;

function atOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The file's bytes from `start` on; each part lies in the same buffer. `end` is where it ends in the file. */
function* chunks(file: string, start: number): Generator<{ readonly bytes: Buffer; readonly end: number }> {
  const buffer = Buffer.allocUnsafe(CHUNK);
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    for (let end = start; ;) {
      const got = readSync(fd, buffer, 0, CHUNK, end);
      if (got === 0) return;
      end += got;
      yield { bytes: buffer.subarray(0, got), end };
    }
  } catch (error) {
    throw fileError(file, 'read', error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
