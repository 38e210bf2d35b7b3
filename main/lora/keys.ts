import type { KEY_FORMS } from '../contract/job.ts';
import { flattenModule, unflattenModule } from './known-modules.ts';

/**
 * How programs name a LoRA's tensors. The default is read by ComfyUI, DiffSynth, ai-toolkit and musubi's
 * converter alike; kohya's form is musubi's own and the only one with an alpha.
 */
export type KeyForm = (typeof KEY_FORMS)[number];
export type Factor = 'A' | 'B';

const KOHYA_PREFIX = 'lora_unet_';

const FORMS: Readonly<Record<KeyForm, (module: string, factor: Factor) => string>> = {
  comfyui: (module, factor) => `diffusion_model.${module}.lora_${factor}.weight`,
  reference: (module, factor) => `${module}.lora_${factor}.default.weight`,
  diffusers: (module, factor) => `transformer.${module}.lora_${factor}.weight`,
  plain: (module, factor) => `${module}.lora_${factor}.weight`,
  kohya: (module, factor) => `${KOHYA_PREFIX}${flattenModule(module)}.lora_${factor === 'A' ? 'down' : 'up'}.weight`,
};

/** @param module e.g. 'transformer_blocks.0.attn.to_q' */
export function loraKey(form: KeyForm, module: string, factor: Factor): string {
  return FORMS[form](module, factor);
}

/** Key of a module's alpha, in the one form that has it. */
export function alphaKey(form: KeyForm, module: string): string | undefined {
  return form === 'kohya' ? `${KOHYA_PREFIX}${flattenModule(module)}.alpha` : undefined;
}

export interface ParsedKey {
  readonly form: KeyForm;
  readonly module: string;
  readonly part: Factor | 'alpha';
}

const DOTTED = /^(diffusion_model\.|transformer\.)?(.+)\.(?:lora_(A|B|down|up)|lora\.(down|up))(\.default)?\.weight$/;
const FLAT = /^lora_unet_([^.]+)\.(?:lora_(down|up)\.weight|(alpha))$/;
const DOTTED_ALPHA = /^(diffusion_model\.|transformer\.)?(.+)\.alpha$/;

/** Reads a key of any of the forms; undefined if it is of none. */
export function parseKey(key: string): ParsedKey | undefined {
  const flat = FLAT.exec(key);
  if (flat) return parseFlat(flat);
  const dotted = DOTTED.exec(key);
  if (dotted) {
    const [, prefix, module = '', direct, old, isDefault] = dotted;
    return { form: formOf(prefix, isDefault), module, part: factorOf(direct ?? old ?? '') };
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
