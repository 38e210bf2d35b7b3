import type { Target } from './targets.ts';

/**
 * What a LoRA file says of itself. ModelSpec 1.0.1 (https://github.com/Stability-AI/ModelSpec), the keys
 * that ComfyUI-Lora-Manager and the Automatic1111 family read, and our own provenance under i2l.*.
 * There is no date: the same inputs give the same bytes.
 */
export type Metadata = Readonly<Record<string, string>>;

/** Stands for the hash of the tensors until they are written; of its length and found nowhere else. */
export const HASH_PLACEHOLDER = 'i2l-tensor-hash-'.padEnd(64, '.');

export interface Provenance {
  readonly version: string;
  readonly target: Target;
  readonly rank: number;
  readonly images: readonly { readonly sha256: string; readonly weight: number }[];
  /** bits: of weights that were not used as they lie in the encoder's file. */
  readonly encoders: readonly { readonly id: string; readonly fingerprint: string; readonly bits?: 8 | undefined }[];
  readonly experts: readonly { readonly id: string; readonly fingerprint: string; readonly strength: number }[];
  readonly preprocessing: number;
  /** What the values depend on, as one hash; see pipelines/recipe.ts. */
  readonly recipe?: string;
  /** Said of the demo's models, so that nobody takes their LoRA for a real one. */
  readonly warning?: string;
}

export function loraMetadata(provenance: Provenance): Metadata {
  const { target, rank, images, experts, encoders, version } = provenance;
  const names = experts.map(({ id }) => id).join(' + ');
  const count = `${images.length} image${images.length === 1 ? '' : 's'}`;
  const description = `Made by an image-to-LoRA model (${names}) from ${count}, without training.`;
  return {
    'modelspec.sai_model_spec': '1.0.1',
    'modelspec.architecture': target.architecture,
    'modelspec.implementation': 'https://github.com/modelscope/DiffSynth-Studio',
    'modelspec.title': `${target.title} LoRA from ${count}`,
    'modelspec.description': provenance.warning === undefined ? description : `${description} ${provenance.warning}`,
    'modelspec.hash_sha256': `0x${HASH_PLACEHOLDER}`,
    sshs_model_hash: HASH_PLACEHOLDER,
    'modelspec.tags': 'image-to-lora',
    ss_base_model_version: target.baseModel,
    ss_network_module: 'networks.lora',
    ss_network_dim: String(rank),
    ss_network_alpha: String(rank),
    'i2l.version': version,
    'i2l.target': target.id,
    'i2l.images': JSON.stringify(images),
    'i2l.encoders': JSON.stringify(encoders),
    'i2l.experts': JSON.stringify(experts),
    'i2l.preprocessing': String(provenance.preprocessing),
    ...(provenance.recipe === undefined ? {} : { 'i2l.recipe': provenance.recipe }),
    ...(provenance.warning === undefined ? {} : { 'i2l.warning': provenance.warning }),
  };
}

/** Says in a file that its components fall by singular value, so that a smaller rank is a cut. */
export const SORTED_KEY = 'i2l.components';

/** Another file's metadata for new tensors: what it says stays, but for the rank, the hashes and their order. */
export function renewedMetadata(metadata: Metadata, rank: number): Metadata {
  const kept = Object.entries(metadata).filter(([key]) => key !== 'sshs_legacy_hash' && key !== SORTED_KEY);
  return {
    ...Object.fromEntries(kept),
    ss_network_dim: String(rank),
    ss_network_alpha: String(rank),
    'modelspec.hash_sha256': `0x${HASH_PLACEHOLDER}`,
    sshs_model_hash: HASH_PLACEHOLDER,
  };
}
