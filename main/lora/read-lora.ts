import { I2lError } from '../contract/errors.ts';
import type { TensorRange } from '../contract/tensor.ts';
import { asComputable, readSafetensors, shapeText, type SafetensorsFile, type TensorEntry } from '../weights/safetensors.ts';
import { readValues } from '../weights/values.ts';
import { isPartOfFused, splitStored, storedModules } from './fused-attention.ts';
import { loraKey, parseKey, type KeyForm, type ParsedKey } from './keys.ts';

/** One module of a LoRA on disk: dW = scale * B A, out x in. */
export interface LoraModule {
  /** E.g. 'transformer_blocks.0.attn.to_q'. */
  readonly path: string;
  /** [rank, in] */
  readonly a: TensorRange;
  /** [out, columns]: its rank's columns from `firstColumn` on; others, of a part of a fused layer, are not its own. */
  readonly b: TensorRange;
  readonly firstColumn: number;
  readonly in: number;
  readonly out: number;
  readonly rank: number;
  /** alpha / rank where the file has an alpha, else 1. */
  readonly scale: number;
}

export interface Lora {
  readonly file: SafetensorsFile;
  readonly keyForm: KeyForm;
  readonly modules: readonly LoraModule[];
}

/** How many keys an error lists before it says "and N more". */
const LISTED = 20;

/**
 * Opens a LoRA in any key form, ours or not. Every tensor has to be understood: other programs skip what
 * they don't know, and a LoRA that works by half is worse than an error.
 * @throws I2lError LORA_KEYS with the keys that are not known or lack their other half; SAFETENSORS_*
 */
export function openLora(path: string): Lora {
  const file = readSafetensors(path);
  const { parts, unknown, forms } = sortKeys(file);
  if (unknown.length > 0) throw keysError(path, 'these keys are not of a LoRA that i2L knows', unknown);
  if (parts.size === 0) throw keysError(path, 'it holds no LoRA', []);
  const halves = [...parts].filter(([, { A, B }]) => !A || !B).map(([module]) => module);
  if (halves.length > 0) throw keysError(path, 'these modules lack a factor (lora_A or lora_B)', halves);
  if (forms.size > 1) throw keysError(path, 'its keys are of several forms', [...forms]);
  const [found = 'plain'] = forms;
  const keyForm = found === 'kohya' && [...parts.keys()].some(isPartOfFused) ? 'musubi' : found;
  const modules = [...parts].flatMap(([module, factors]) => splitStored(readModule(file, module, factors)));
  const twice = repeatedPaths(modules);
  if (twice.length > 0) throw keysError(path, 'these modules are in it twice, fused and apart', twice);
  return { file, keyForm, modules };
}

function repeatedPaths(modules: readonly LoraModule[]): string[] {
  const seen = new Set<string>();
  return modules.flatMap(({ path }) => (seen.size === seen.add(path).size ? [path] : []));
}

/** Whether a file's keys are those that a form would give it; one file may be of kohya's and of musubi's. */
export function isOfForm({ file, modules }: Lora, form: KeyForm): boolean {
  return storedModules(modules, form).every((module) => file.tensors.has(loraKey(form, module.path, 'A')));
}

type Parts = Partial<Record<ParsedKey['part'], TensorEntry>>;

function sortKeys(file: SafetensorsFile): { parts: Map<string, Parts>; unknown: string[]; forms: Set<KeyForm> } {
  const parts = new Map<string, Parts>();
  const forms = new Set<KeyForm>();
  const unknown: string[] = [];
  for (const entry of file.tensors.values()) {
    const key = parseKey(entry.name);
    const known = key && (parts.get(key.module) ?? {});
    if (!key || !known || known[key.part]) {
      unknown.push(entry.name);
      continue;
    }
    known[key.part] = entry;
    parts.set(key.module, known);
    if (key.part !== 'alpha') forms.add(key.form);
  }
  return { parts, unknown, forms };
}

function readModule(file: SafetensorsFile, path: string, { A, B, alpha }: Parts): LoraModule {
  if (!A || !B) throw new I2lError('INTERNAL', `${path} lacks a factor.`);
  const [rank = 0, inner = 0] = A.shape;
  const [out = 0, columns = 0] = B.shape;
  if (A.shape.length !== 2 || B.shape.length !== 2 || rank !== columns || rank === 0 || inner === 0 || out === 0) {
    const shapes = `${shapeText(A.shape)} and ${shapeText(B.shape)}`;
    throw new I2lError(
      'LORA_MISMATCH',
      `${file.file}: ${path}: factors of the shapes ${shapes} don't make a LoRA of a linear layer.`,
      {
        file: file.file,
        module: path,
        reason: 'bad-factors',
      },
    );
  }
  return {
    path,
    a: asComputable(file, A),
    b: asComputable(file, B),
    firstColumn: 0,
    in: inner,
    out,
    rank,
    scale: alpha ? readAlpha(file, alpha) / rank : 1,
  };
}

function readAlpha(file: SafetensorsFile, entry: TensorEntry): number {
  const [alpha = Number.NaN, ...others] = readValues(asComputable(file, entry));
  if (others.length === 0 && Number.isFinite(alpha)) return alpha;
  throw new I2lError('LORA_MISMATCH', `${file.file}: "${entry.name}" is not one finite number.`, {
    file: file.file,
    tensor: entry.name,
    reason: 'bad-factors',
  });
}

function keysError(file: string, why: string, keys: readonly string[]): I2lError {
  const more = keys.length > LISTED ? `, and ${keys.length - LISTED} more` : '';
  const list = keys.length === 0 ? '' : `: ${keys.slice(0, LISTED).join(', ')}${more}`;
  return new I2lError('LORA_KEYS', `${file}: ${why}${list}.`, { file, keys: keys.slice(0, 1000) });
}

/** Largest rank of its modules. */
export function rankOf({ modules }: Lora): number {
  return modules.reduce((largest, { rank }) => Math.max(largest, rank), 0);
}
