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
  const lora = openLora(path);
  const { file, modules, keyForm } = lora;
  return {
    file: path,
    bytes: file.size,
    target: targetOf(modules.map((module) => module.path)),
    keyForm,
    modules: modules.length,
    rank: { min: Math.min(...modules.map(({ rank }) => rank)), max: rankOf(lora) },
    dtypes: [...new Set([...file.tensors.values()].map(({ dtype }) => dtype))].sort(),
    metadata: file.metadata,
    ...hashLora(path),
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
export function hashLora(path: string): LoraHashes {
  const { dataOffset, file } = readSafetensors(path);
  const whole = createHash('sha256');
  const tensors = createHash('sha256');
  readFrom(file, 0, (bytes, at) => {
    whole.update(bytes);
    if (at + bytes.length > dataOffset) tensors.update(bytes.subarray(Math.max(0, dataOffset - at)));
  });
  const [sha256, tensorHash] = [whole.digest('hex'), tensors.digest('hex')];
  return { sha256, tensorHash, autoV2: sha256.slice(0, 10).toUpperCase(), autoV3: tensorHash.slice(0, 12).toUpperCase() };
}

/** The sha256 of the tensor bytes alone, hex. */
export function hashTensors(path: string): string {
  const { dataOffset, file } = readSafetensors(path);
  const tensors = createHash('sha256');
  readFrom(file, dataOffset, (bytes) => void tensors.update(bytes));
  return tensors.digest('hex');
}

function readFrom(file: string, start: number, take: (bytes: Buffer, at: number) => void): void {
  const buffer = Buffer.allocUnsafe(CHUNK);
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    for (let at = start, got = readSync(fd, buffer, 0, CHUNK, at); got > 0; at += got, got = readSync(fd, buffer, 0, CHUNK, at)) {
      take(buffer.subarray(0, got), at);
    }
  } catch (error) {
    throw fileError(file, 'read', error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
