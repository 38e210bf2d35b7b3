import { readValues } from './values.ts';
import { I2lError } from '../contract/errors.ts';
import { asComputable, shapeText, shorten, type SafetensorsFile, type TensorEntry } from './safetensors.ts';

/**
 * ComfyUI's scaled fp8: a weight in F8_E4M3 and beside it one number that it is multiplied by, X.scale_weight
 * (in newer files X.weight_scale). Scales of activations and notes for ComfyUI's own kernels lie there, too;
 * they say how to compute fast, not what.
 */
const SCALES = ['scale_weight', 'weight_scale'];
const NOTES = ['scale_input', 'input_scale', 'comfy_quant'];
/** An empty tensor that says that the file is of this kind. */
const MARKER = 'scaled_fp8';

/** The tensors of a file that belong to others. */
export interface ScaledFp8 {
  /** Of a weight, by its name. */
  readonly scales: ReadonlyMap<string, TensorEntry>;
  /** Scales, notes and the marker: no tensors of the model. */
  readonly beside: ReadonlySet<string>;
}

export function scaledFp8(tensors: ReadonlyMap<string, TensorEntry>): ScaledFp8 {
  const scales = new Map<string, TensorEntry>();
  const beside = new Set<string>();
  for (const [name, entry] of tensors) {
    const dot = name.lastIndexOf('.');
    const [weight, what] = [`${name.slice(0, dot)}.weight`, name.slice(dot + 1)];
    const belongs = tensors.get(weight)?.dtype === 'F8_E4M3';
    if (belongs && SCALES.includes(what)) scales.set(weight, entry);
    if ((belongs && (SCALES.includes(what) || NOTES.includes(what))) || name === MARKER) beside.add(name);
  }
  return { scales, beside };
}

/** @throws I2lError SAFETENSORS_TENSOR for scales of blocks or channels */
export function readScale(file: SafetensorsFile, entry: TensorEntry): number {
  const [scale = Number.NaN, ...others] = readValues(asComputable(file, entry));
  if (others.length === 0 && Number.isFinite(scale)) return scale;
  const name = shorten(entry.name);
  throw new I2lError(
    'SAFETENSORS_TENSOR',
    `${file.file}: "${name}" of the shape ${shapeText(entry.shape)}: expected one finite number for the whole weight; this kind of quantisation is not known.`,
    { file: file.file, tensor: name },
  );
}
