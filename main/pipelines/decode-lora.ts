import { I2lError } from '../contract/errors.ts';
import type { Device } from '../contract/devices.ts';
import type { EmbeddingName } from '../contract/experts.ts';
import type { DecodeJob } from '../contract/job.ts';
import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import { loraMetadata, type Provenance } from '../lora/metadata.ts';
import { STORED_DTYPE, type RankedModule } from '../lora/write-lora.ts';
import { factorState, partName, tokensState } from '../networks/i2l-stages.ts';
import type { Chunk } from '../offload/group.ts';
import { prepare, type NetworkRunner, type PreparedNetwork } from './context.ts';
import { partNamed, type EmbeddingPart } from './embeddings-file.ts';
import type { OpenDecoder, OpenExpert } from './open-decoder.ts';
import { streamLoras, type LoraFileRequest, type LoraOutcome, type LoraPart } from './stream-lora.ts';

/** @param held bytes of the job's embeddings */
export function prepareDecoder(decoder: OpenDecoder, dtype: DecodeJob['dtype'], held: number, device: Device): PreparedNetwork {
  const stages = decoder.stages(STORED_DTYPE[dtype]);
  // A factor of the file holds the ranks of all images side by side: they go in one run.
  return prepare(decoder.name, stages, { wholeBatch: true, leastImages: LEAST_ROWS, held: { fixed: held, perImage: 0 }, device });
}

/**
 * Onnxruntime multiplies one lone row otherwise than several, and a set of one image would depend on whether others were
 * decoded with it.
 */
const LEAST_ROWS = 2;

/** What an expert reads of an image: [siglip2, dinov3], row by row. */
const VECTORS = ['siglip2', 'dinov3'] as const;

/**
 * Says before any work that the embeddings are those that the experts were made for.
 * @param whose e.g. 'the encoders'. @throws I2lError MODEL_MISMATCH
 */
export function checkInputs(decoder: OpenDecoder, parts: readonly Pick<EmbeddingPart, 'name' | 'width'>[], whose: string): void {
  const width = parts.reduce((sum, part) => sum + (isVector(part.name) ? part.width : 0), 0);
  for (const expert of decoder.experts) {
    if (expert.config.width !== width) {
      throw new I2lError(
        'MODEL_MISMATCH',
        `${expert.path}: this expert reads embeddings of ${expert.config.width} values, and ${whose} give ${width}.`,
        { file: expert.path, expected: expert.config.width, got: width },
      );
    }
    tokensOf(expert, parts, whose);
  }
}

function isVector(name: EmbeddingName): boolean {
  return (VECTORS as readonly EmbeddingName[]).includes(name);
}

/** The tokens that an expert's residual is made of, told by their number; undefined for one without. */
function tokensOf<Found extends Pick<EmbeddingPart, 'name' | 'width'>>(
  { config: { residual }, path }: OpenExpert,
  parts: readonly Found[],
  whose: string,
): Found | undefined {
  if (!residual) return undefined;
  const found = parts.find(({ name, width }) => !isVector(name) && width === residual.tokens * residual.width);
  if (found) return found;
  const there = parts.filter(({ name }) => !isVector(name)).map(({ name, width }) => `${width} of ${name}`);
  const message = `${path}: this expert also reads ${residual.tokens} tokens of ${residual.width} values of Qwen2.5-VL, and ${whose} give ${there.length === 0 ? 'none' : there.join(', ')}.`;
  throw new I2lError('MODEL_MISMATCH', message, { file: path, tokens: residual.tokens, width: residual.width });
}

/** One LoRA: its images' embeddings, and how much each of them counts. */
export interface DecodeSet {
  readonly output: string;
  readonly parts: readonly EmbeddingPart[];
  readonly provenance: Omit<Provenance, 'rank' | 'target'>;
}

export interface DecodeRequest extends Pick<DecodeJob, 'dtype' | 'keyForm'> {
  readonly sets: readonly DecodeSet[];
}

/**
 * Decodes embeddings into LoRA files, all sets in one pass over the weights: each image's rank concatenated,
 * A scaled by the image's weight and the expert's strength. The files appear when they are whole.
 */
export async function decodeToFiles(
  runner: NetworkRunner,
  prepared: PreparedNetwork,
  decoder: OpenDecoder,
  { sets, dtype, keyForm }: DecodeRequest,
): Promise<LoraOutcome[]> {
  const counts = sets.map(({ provenance }) => provenance.images.length);
  const images = counts.reduce((sum, count) => sum + count, 0);
  const files = sets.map((set): LoraFileRequest => ({ ...fileOf(set, decoder), dtype, keyForm }));
  const load = ({ count }: Chunk): TensorMap => stateOf(decoder, sets, count);
  return streamLoras(runner, prepared, { load, images, parts: partsOf(decoder, counts) }, files);
}

/** @param rows as many as there are images, or more: zeros */
function stateOf({ experts }: OpenDecoder, sets: readonly DecodeSet[], rows: number): TensorMap {
  const weights = sets.flatMap(({ provenance }) => provenance.images.map(({ weight }) => weight));
  const vectors = sets.flatMap(({ parts, provenance }) => {
    const own = VECTORS.map((name) => partNamed(parts, name).rows);
    return provenance.images.flatMap((_, image) => own.map((part) => part[image] ?? new Float32Array()));
  });
  const state: Record<string, HostTensor> = { embedding: stacked(vectors, [rows, experts[0]?.config.width ?? 0]) };
  for (const expert of experts) {
    const { name, strength, config } = expert;
    const factors = Float32Array.from(weights, (weight) => weight * strength);
    state[factorState(name)] = stacked([factors], [rows, 1]);
    if (!config.residual) continue;
    const tokens = sets.flatMap(({ parts }) => tokensOf(expert, parts, 'the embeddings')?.rows ?? []);
    state[tokensState(name)] = stacked(tokens, [rows, config.residual.tokens, config.residual.width]);
  }
  return state;
}

/** One after another, zeros behind the last. */
function stacked(pieces: readonly Float32Array[], dims: readonly number[]): HostTensor {
  const data = new Float32Array(dims.reduce((product, size) => product * size, 1));
  let at = 0;
  for (const piece of pieces) {
    data.set(piece, at);
    at += piece.length;
  }
  return { data, dims };
}

/** Which ranks of what the stages emit are whose: an expert's go image by image, a static LoRA's are everybody's. */
function partsOf({ experts, statics }: OpenDecoder, counts: readonly number[]): LoraPart[] {
  const before = counts.map((_, file) => counts.slice(0, file).reduce((sum, count) => sum + count, 0));
  const named = (name: string): LoraPart['nameOf'] => (module, factor) => partName(module, factor, name); // prettier-ignore
  return [
    ...experts.map(({ name, config: { rank } }) => ({
      nameOf: named(name),
      ranksOf: (file: number) => ({ first: (before[file] ?? 0) * rank, count: (counts[file] ?? 0) * rank }),
    })),
    ...statics.map(({ name, lora }) => {
      const ranks = new Map(lora.modules.map((module) => [module.path, { first: 0, count: module.rank }]));
      return { nameOf: named(name), ranksOf: (_: number, module: string) => ranks.get(module) };
    }),
  ];
}

function fileOf({ output, provenance }: DecodeSet, decoder: OpenDecoder): Omit<LoraFileRequest, 'dtype' | 'keyForm'> {
  const modules = rankedModules(decoder, provenance.images.length);
  const rank = Math.max(...modules.map((module) => module.rank));
  return { output, modules, metadata: loraMetadata({ ...provenance, target: decoder.target, rank }) };
}

/** The modules of a LoRA of so many images. */
export function rankedModules({ modules, experts, statics }: OpenDecoder, images: number): RankedModule[] {
  const ranks = experts.reduce((sum, { config }) => sum + config.rank * images, 0);
  const fixed = statics.map(({ lora }) => new Map(lora.modules.map(({ path, rank }) => [path, rank])));
  return modules.map((module) => ({
    ...module,
    rank: fixed.reduce((sum, own) => sum + (own.get(module.path) ?? 0), ranks),
  }));
}
