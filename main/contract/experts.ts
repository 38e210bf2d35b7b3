/** What a LoRA can be for, what can take part in one, and what each of them reads. */

export const TARGETS = ['qwen-image', 'z-image'] as const;
export type TargetId = (typeof TARGETS)[number];

/** In the order in which their ranks lie in a LoRA, as in the reference. Bias is a static LoRA. */
export const EXPERTS = ['style', 'coarse', 'fine', 'bias'] as const;
export type ExpertName = (typeof EXPERTS)[number];

export const EXPERTS_OF: Readonly<Record<TargetId, readonly ExpertName[]>> = {
  'qwen-image': EXPERTS,
  'z-image': ['style'],
};

/** What encoders make of an image: one vector each, or Qwen2.5-VL's tokens of a small and of a large picture. */
export const EMBEDDINGS = ['siglip2', 'dinov3', 'qwen-low', 'qwen-high'] as const;
export type EmbeddingName = (typeof EMBEDDINGS)[number];

/** Which expert a model is by its id, e.g. 'qwen-image-i2l-style'; undefined for a model of one's own. */
export function expertOfModel(id: string): ExpertName | undefined {
  return EXPERTS.find((name) => id === name || id.endsWith(`-i2l-${name}`));
}

/** Embeddings that an expert needs. */
export const EXPERT_READS: Readonly<Record<ExpertName, readonly EmbeddingName[]>> = {
  style: ['siglip2', 'dinov3'],
  coarse: ['siglip2', 'dinov3', 'qwen-low'],
  fine: ['siglip2', 'dinov3', 'qwen-high'],
  bias: [],
};

/** Of these experts all together, each once, in their own order. */
export function embeddingsFor(experts: readonly ExpertName[]): EmbeddingName[] {
  return EMBEDDINGS.filter((embedding) => experts.some((expert) => EXPERT_READS[expert].includes(embedding)));
}
