import { I2lError } from '../contract/errors.ts';
import { PREPROCESSING_VERSION } from '../imaging/preprocess.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { float32Bytes, readValues } from '../weights/values.ts';
import { writeSafetensors } from '../weights/write-safetensors.ts';
import { EMBEDDINGS, type EmbeddingName } from '../contract/experts.ts';
import type { ModelIdentity } from './model-identity.ts';
import { VERSION } from './version.ts';

/**
 * The file between the two halves of create: tensors image.N.siglip2, image.N.dinov3, and for experts with a
 * residual image.N.qwen-low and image.N.qwen-high, f32, one row each. Who made them is in the metadata.
 */

export type EncoderIdentity = Pick<ModelIdentity, 'id' | 'fingerprint' | 'contentId' | 'synthetic'> & {
  /** Of its weights, where they were not used as they lie in its file. */
  readonly bits?: 8 | undefined;
};

/** One kind of embedding: `width` values of each image. */
export interface EmbeddingPart {
  readonly name: EmbeddingName;
  readonly width: number;
  readonly rows: readonly Float32Array[];
}

export interface Embeddings {
  readonly parts: readonly EmbeddingPart[];
  readonly encoders: readonly EncoderIdentity[];
  /** sha256 of each image's file; empty where a file made elsewhere doesn't say. */
  readonly hashes: readonly string[];
}

/** @throws I2lError INTERNAL if it is not there */
export function partNamed(parts: readonly EmbeddingPart[], name: EmbeddingName): EmbeddingPart {
  const part = parts.find((candidate) => candidate.name === name);
  if (!part) throw new I2lError('INTERNAL', `the embeddings ${name} were not made.`, { name });
  return part;
}

function tensorName(image: number, encoder: string): string {
  return `image.${image}.${encoder}`;
}

/** @returns the file's bytes */
export function writeEmbeddings(path: string, { parts, encoders, hashes }: Embeddings): number {
  const tensors = hashes.flatMap((_, image) =>
    parts.map((part) => ({
      name: tensorName(image, part.name),
      dtype: 'F32' as const,
      shape: [part.width],
      bytes: float32Bytes(part.rows[image] as Float32Array),
    })),
  );
  writeSafetensors(path, tensors, {
    'i2l.version': VERSION,
    'i2l.encoders': JSON.stringify(encoders.map(identityOf)),
    'i2l.images': JSON.stringify(hashes),
    'i2l.preprocessing': String(PREPROCESSING_VERSION),
  });
  return Checkpoint.open(path).size;
}

/** @throws I2lError MODEL_UNRECOGNISED if it holds no embeddings, TENSOR_MISSING or TENSOR_SHAPE if they don't fit together */
export function readEmbeddings(path: string): Embeddings {
  const checkpoint = Checkpoint.open(path);
  let images = 0;
  while (checkpoint.has(tensorName(images, 'siglip2'))) images++;
  if (images === 0) {
    const message = `${path}: it holds no embeddings (${tensorName(0, 'siglip2')} is missing); make it with i2l encode.`;
    throw new I2lError('MODEL_UNRECOGNISED', message, { file: path });
  }
  const names = EMBEDDINGS.filter((name) => name === 'dinov3' || checkpoint.has(tensorName(0, name)));
  const parts = names.map((name) => readPart(checkpoint, name, images));
  const metadata = checkpoint.files[0]?.metadata ?? {};
  const hashes = parseList(metadata['i2l.images'], (item): item is string => typeof item === 'string');
  return {
    parts,
    encoders: parseList(metadata['i2l.encoders'], isEncoderIdentity),
    hashes: hashes.length === images ? hashes : Array.from({ length: images }, () => ''),
  };
}

function readPart(checkpoint: Checkpoint, name: EmbeddingName, images: number): EmbeddingPart {
  const width = checkpoint.entry(tensorName(0, name))?.shape[0] ?? 0;
  const rows = Array.from({ length: images }, (_, image) => readValues(checkpoint.tensor(tensorName(image, name), [width])));
  return { name, width, rows };
}

function identityOf({ id, fingerprint, contentId, synthetic, bits }: EncoderIdentity): EncoderIdentity {
  return { id, fingerprint, contentId, synthetic, ...(bits && { bits }) };
}

function isEncoderIdentity(item: unknown): item is EncoderIdentity {
  const { id, fingerprint, contentId, synthetic, bits } = (item ?? {}) as Record<string, unknown>;
  const isText = [id, fingerprint, contentId].every((text) => typeof text === 'string');
  return isText && typeof synthetic === 'boolean' && (bits === undefined || bits === 8);
}

/** Somebody else's metadata under our key is no provenance, and no provenance is better than a wrong one. */
function parseList<T>(text: string | undefined, isItem: (item: unknown) => item is T): T[] {
  if (text === undefined) return [];
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) && list.every(isItem) ? list : [];
  } catch {
    return [];
  }
}
