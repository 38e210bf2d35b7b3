import type { ExpertName } from '../contract/experts.ts';
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
  readonly experts: readonly {
    readonly id: string;
    /** What the model was taken for, where that is known. */
    readonly expert?: ExpertName | undefined;
    readonly fingerprint: string;
    readonly strength: number;
  }[];
  readonly preprocessing: number;
  /** What the values depend on, as one hash; see pipelines/recipe.ts. */
  readonly recipe?: string;
  /** Of models with random weights, as the demo's: said, so that nobody takes the LoRA for a real one. */
  readonly synthetic: boolean;
}

/** What a LoRA of models with random weights says of itself: to programs, and to people. */
const SYNTHETIC: Metadata = {
  'i2l.synthetic': 'true',
  'i2l.warning': 'Made with random weights for a rehearsal: it has the right form and no meaning.',
};

/** Whether a file says that it is of random weights; the first versions said it by the warning alone. */
export function isSynthetic(metadata: Metadata): boolean {
  const said = metadata['i2l.synthetic'];
  return said === undefined ? Boolean(metadata['i2l.warning']) : said === 'true';
}

/** What is to be said of a LoRA that any of these went into. */
export function warningOf(parts: readonly Metadata[]): Metadata {
  return parts.some(isSynthetic) ? SYNTHETIC : {};
}

export function loraMetadata(provenance: Provenance): Metadata {
  const { target, rank, images, experts, encoders, version } = provenance;
  const names = experts.map(({ id }) => id).join(' + ');
  const count = `${images.length} image${images.length === 1 ? '' : 's'}`;
  const warning = provenance.synthetic ? SYNTHETIC : {};
  const description = `Made by an image-to-LoRA model (${names}) from ${count}, without training.`;
  return {
    'modelspec.sai_model_spec': '1.0.1',
    'modelspec.architecture': target.architecture,
    'modelspec.implementation': 'https://github.com/modelscope/DiffSynth-Studio',
    'modelspec.title': `${target.title} LoRA from ${count}`,
    'modelspec.description': [description, warning['i2l.warning'] ?? ''].join(' ').trim(),
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
    ...warning,
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
