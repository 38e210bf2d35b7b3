import type { KEY_FORMS } from '../contract/job.ts';
import { flattenModule, unflattenModule } from './known-modules.ts';

/**
 * How programs name a LoRA's tensors. The default is read by ComfyUI, DiffSynth, ai-toolkit and musubi's
 * converter alike. Kohya's form is here as ComfyUI reads it, with Z-Image's q, k and v in one (fused-attention.ts);
 * musubi trains with the same keys and the three apart. Kohya's, musubi's and OneTrainer's have an alpha.
 */
export type KeyForm = (typeof KEY_FORMS)[number];
export type Factor = 'A' | 'B';

const KOHYA_PREFIX = 'lora_unet_';

const FORMS: Readonly<Record<KeyForm, (module: string, factor: Factor) => string>> = {
  comfyui: (module, factor) => `diffusion_model.${module}.lora_${factor}.weight`,
  reference: (module, factor) => `${module}.lora_${factor}.default.weight`,
  diffusers: (module, factor) => `transformer.${module}.lora_${factor}.weight`,
  plain: (module, factor) => `${module}.lora_${factor}.weight`,
  kohya: flatKey,
  musubi: flatKey,
  onetrainer: (module, factor) => `transformer.${module}.lora_${downOrUp(factor)}.weight`,
};

function flatKey(module: string, factor: Factor): string {
  return `${KOHYA_PREFIX}${flattenModule(module)}.lora_${downOrUp(factor)}.weight`;
}

function downOrUp(factor: Factor): string {
  return factor === 'A' ? 'down' : 'up';
}

/** @param module e.g. 'transformer_blocks.0.attn.to_q' */
export function loraKey(form: KeyForm, module: string, factor: Factor): string {
  return FORMS[form](module, factor);
}

/** Key of a module's alpha, in the forms that have it. */
export function alphaKey(form: KeyForm, module: string): string | undefined {
  if (form === 'onetrainer') return `transformer.${module}.alpha`;
  return form === 'kohya' || form === 'musubi' ? `${KOHYA_PREFIX}${flattenModule(module)}.alpha` : undefined;
}

export interface ParsedKey {
  readonly form: KeyForm;
  readonly module: string;
  readonly part: Factor | 'alpha';
}

const DOTTED = /^(diffusion_model\.|transformer\.)?(.+)\.(?:lora_(A|B|down|up)|lora\.(down|up))(\.default)?\.weight$/;
const FLAT = /^lora_unet_([^.]+)\.(?:lora_(down|up)\.weight|(alpha))$/;
const DOTTED_ALPHA = /^(diffusion_model\.|transformer\.)?(.+)\.alpha$/;

/** Reads a key of any of the forms; undefined if it is of none. A key of musubi's form is also one of kohya's. */
export function parseKey(key: string): ParsedKey | undefined {
  const flat = FLAT.exec(key);
  if (flat) return parseFlat(flat);
  const dotted = DOTTED.exec(key);
  if (dotted) {
    const [, prefix, module = '', direct, old, isDefault] = dotted;
    const form = prefix === 'transformer.' && (direct === 'down' || direct === 'up') ? 'onetrainer' : formOf(prefix, isDefault);
    return { form, module, part: factorOf(direct ?? old ?? '') };
  }
  const alpha = DOTTED_ALPHA.exec(key);
  return alpha ? { form: formOf(alpha[1], undefined), module: alpha[2] ?? '', part: 'alpha' } : undefined;
}

function parseFlat([, flat = '', factor, alpha]: RegExpExecArray): ParsedKey | undefined {
  const module = unflattenModule(flat);
  if (module === undefined) return undefined;
  return { form: 'kohya', module, part: alpha === undefined ? factorOf(factor ?? '') : 'alpha' };
}

function factorOf(word: string): Factor {
  return word === 'A' || word === 'down' ? 'A' : 'B';
}

function formOf(prefix: string | undefined, isDefault: string | undefined): KeyForm {
  if (prefix === 'diffusion_model.') return 'comfyui';
  if (prefix === 'transformer.') return 'diffusers';
  return isDefault === undefined ? 'plain' : 'reference';
}
