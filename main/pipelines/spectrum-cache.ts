import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openLora } from '../lora/read-lora.ts';
import type { Spectrum } from '../lora/spectrum.ts';
import { hashTensors } from './inspect-lora.ts';
import { readSpectrum } from './spectrum-file.ts';

/** Where a LoRA's singular values are kept, and they themselves if they are there. */
export interface KeptSpectrum {
  readonly path: string;
  readonly spectrum: Spectrum | undefined;
}

/**
 * Looks for the singular values of a LoRA's modules, kept by the hash of its tensors.
 * @param cache the app's folder of what can be made again
 * @param tensorHash if it is known
 * @throws I2lError LORA_KEYS and what a damaged LoRA gives
 */
export function keptSpectrum(file: string, cache: string, tensorHash?: string): KeptSpectrum {
  const { modules } = openLora(file);
  const path = join(cache, 'spectra', `${tensorHash ?? hashTensors(file)}.safetensors`);
  const spectrum = existsSync(path) ? orNothing(() => readSpectrum(path)) : undefined;
  const fits = modules.every(({ path: module, rank }, i) => spectrum?.[i]?.path === module && spectrum[i]?.rank === rank);
  return { path, spectrum: fits && spectrum?.length === modules.length ? spectrum : undefined };
}

/** A kept file that is damaged is as good as none: it is made again. */
function orNothing(read: () => Spectrum): Spectrum | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
