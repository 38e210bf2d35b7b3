import type { KEY_FORMS } from '../contract/job.ts';

/**
 * How programs name a LoRA's tensors. The default is read by ComfyUI, DiffSynth, ai-toolkit and musubi's
 * converter alike.
 */
export type KeyForm = (typeof KEY_FORMS)[number];
export type Factor = 'A' | 'B';

const FORMS: Readonly<Record<KeyForm, (module: string, factor: Factor) => string>> = {
  comfyui: (module, factor) => `diffusion_model.${module}.lora_${factor}.weight`,
  reference: (module, factor) => `${module}.lora_${factor}.default.weight`,
  diffusers: (module, factor) => `transformer.${module}.lora_${factor}.weight`,
  plain: (module, factor) => `${module}.lora_${factor}.weight`,
};

/** @param module e.g. 'transformer_blocks.0.attn.to_q' */
export function loraKey(form: KeyForm, module: string, factor: Factor): string {
  return FORMS[form](module, factor);
}
