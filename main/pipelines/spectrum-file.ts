import { I2lError } from '../contract/errors.ts';
import type { ModuleSpectrum, Spectrum } from '../lora/spectrum.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { float32Bytes, readValues } from '../weights/values.ts';
import { writeSafetensors } from '../weights/write-safetensors.ts';

/**
 * A LoRA's singular values, kept so that no question about its rank needs its tensors again: one f32
 * tensor a module, with the module's sizes in the metadata.
 */
export function writeSpectrum(path: string, spectrum: Spectrum): number {
  const tensors = spectrum.map((module) => ({
    name: module.path,
    dtype: 'F32' as const,
    shape: [module.singularValues.length],
    bytes: float32Bytes(Float32Array.from(module.singularValues)),
  }));
  const sizes = spectrum.map((module) => [module.path, module.in, module.out, module.rank]);
  writeSafetensors(path, tensors, { 'i2l.spectrum': JSON.stringify(sizes) });
  return Checkpoint.open(path).size;
}

/** @throws I2lError MODEL_UNRECOGNISED if it is not a spectrum */
export function readSpectrum(path: string): Spectrum {
  const checkpoint = Checkpoint.open(path);
  const sizes = parseSizes(checkpoint.files[0]?.metadata['i2l.spectrum']);
  if (!sizes) throw new I2lError('MODEL_UNRECOGNISED', `${path}: it is not a spectrum of a LoRA.`, { file: path });
  return sizes.map(([module, inner, out, rank]): ModuleSpectrum => {
    const shape = checkpoint.entry(module)?.shape ?? [];
    const singularValues = Float64Array.from(readValues(checkpoint.tensor(module, shape)));
    return { path: module, in: inner, out, rank, singularValues };
  });
}

type Sizes = readonly [string, number, number, number];

function parseSizes(text: string | undefined): readonly Sizes[] | undefined {
  if (text === undefined) return undefined;
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) && list.every(isSizes) ? list : undefined;
  } catch {
    return undefined; // The caller says that this file is no spectrum.
  }
}

function isSizes(item: unknown): item is Sizes {
  if (!Array.isArray(item) || item.length !== 4) return false;
  const [module, ...sizes] = item as unknown[];
  return typeof module === 'string' && sizes.every((size) => Number.isSafeInteger(size));
}
