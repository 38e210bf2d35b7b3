import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { fileError } from '../contract/errors.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { SafetensorsFile } from './safetensors.ts';

const SAMPLES = 64;
const SAMPLE_BYTES = 4096;

/**
 * Tells checkpoints of the same layout apart by their values, in milliseconds: a hash of the layout and of 64
 * samples of 4 KiB spread over each file's tensors. Weights that were trained, quantised or drawn anew
 * differ in every sample; a file that was damaged at one place may not.
 * @returns 32 hex digits. @throws I2lError FILE_UNREADABLE
 */
export function contentId(checkpoint: Checkpoint): string {
  const hash = createHash('sha256').update(checkpoint.fingerprint());
  for (const file of checkpoint.files) sample(file, (bytes) => hash.update(bytes));
  return hash.digest('hex').slice(0, 32);
}

function sample({ file, dataOffset, size }: SafetensorsFile, take: (bytes: Uint8Array) => void): void {
  const step = Math.max(SAMPLE_BYTES, Math.floor((size - dataOffset) / SAMPLES));
  const buffer = Buffer.allocUnsafe(SAMPLE_BYTES);
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    for (let at = dataOffset; at < size; at += step) take(buffer.subarray(0, readSync(fd, buffer, 0, SAMPLE_BYTES, at)));
  } catch (error) {
    throw fileError(file, 'read', error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
