import { z } from 'zod';
import { expertOfModel, EXPERTS } from '../contract/experts.ts';
import { hashSchema } from '../contract/library-values.ts';
import type { LoraExpert, LoraFacts, MadeFrom } from '../contract/loras.ts';
import { isSynthetic } from '../lora/metadata.ts';

/** What a LoRA file's own metadata tells the library; anything else in it is as good as absent. */
export interface ToldByFile {
  readonly experts: readonly LoraExpert[];
  readonly madeFrom: MadeFrom | null;
  readonly recipe: string | undefined;
  readonly warning: string;
  readonly synthetic: boolean;
  readonly triggerWords: readonly string[];
}

const expertsSchema = z
  .array(z.object({ id: z.string(), expert: z.string().optional(), fingerprint: z.string(), strength: z.number() }))
  .max(100);
const imagesSchema = z.array(z.object({ sha256: hashSchema, weight: z.number() })).max(100_000);
const MOST_TEXT = 2000;

export function toldByFile({ metadata }: LoraFacts): ToldByFile {
  const experts = parsed(expertsSchema, metadata['i2l.experts']) ?? [];
  const images = parsed(imagesSchema, metadata['i2l.images']);
  const words = (metadata['modelspec.trigger_phrase'] ?? '').slice(0, MOST_TEXT).split(',');
  return {
    experts: experts.map(({ id, expert, fingerprint, strength }) => {
      return { expert: id, role: EXPERTS.find((name) => name === expert) ?? expertOfModel(id) ?? null, fingerprint, strength };
    }),
    madeFrom: images ? { images: images.map(({ sha256, weight }) => ({ hash: sha256, weight, caption: '' })) } : null,
    recipe: hashSchema.safeParse(metadata['i2l.recipe']).data,
    warning: (metadata['i2l.warning'] ?? '').slice(0, MOST_TEXT),
    synthetic: isSynthetic(metadata),
    triggerWords: words.map((word) => word.trim()).filter((word) => word !== ''),
  };
}

/** Foreign files may hold anything there. */
function parsed<T>(schema: z.ZodType<T>, text: string | undefined): T | undefined {
  try {
    return schema.safeParse(JSON.parse(text ?? 'null')).data;
  } catch {
    return undefined;
  }
}
