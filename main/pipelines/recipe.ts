import { createHash } from 'node:crypto';
import { PREPROCESSING_VERSION } from '../imaging/preprocess.ts';

/** All that a LoRA's values depend on, but for rounding. */
export interface Recipe {
  readonly target: string;
  /** In their order; weights are shares of 1. */
  readonly images: readonly { readonly sha256: string; readonly weight: number }[];
  /** By their weights; see weights/content-id.ts. */
  readonly encoders: readonly { readonly contentId: string; readonly bits?: 8 | undefined }[];
  readonly experts: readonly { readonly contentId: string; readonly strength: number }[];
}

/** The same for LoRAs that differ at most in rank, type and names: what a finished LoRA is known by. @returns 64 hex digits */
export function recipeId({ target, images, encoders, experts }: Recipe): string {
  const parts = [
    target,
    PREPROCESSING_VERSION,
    images.map(({ sha256, weight }) => [sha256, weight]),
    encoders.map(({ contentId, bits }) => (bits === undefined ? contentId : `${contentId} in ${bits} bits`)),
    experts.map(({ contentId, strength }) => [contentId, strength]),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Each image's share of all the weights: 1 / N where all are the same, as in the reference. */
export function sharesOf(images: readonly { readonly sha256: string; readonly weight: number }[]): Recipe['images'] {
  const total = images.reduce((sum, { weight }) => sum + weight, 0);
  return images.map(({ sha256, weight }) => ({ sha256, weight: weight / total }));
}
