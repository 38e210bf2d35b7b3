import type { EmbeddingName } from '../contract/experts.ts';
import type { HostTensor } from '../contract/tensor.ts';
import type { ModelsChoice } from '../contract/models.ts';
import { CROP_SIDE, dinoPixels, LOW_CROP_SIDE, qwenPatches, qwenSide, siglipPixels } from '../imaging/preprocess.ts';
import type { Crops } from '../imaging/read-crops.ts';
import type { Pixels } from '../imaging/resample.ts';
import { dinov3, dinov3Stages } from '../networks/dinov3.ts';
import { recognise, type EncoderStages, type Network } from '../networks/network.ts';
import { qwen25vl, qwen25vlStages } from '../networks/qwen25vl.ts';
import { CheckpointScope, type Scope } from '../networks/scope.ts';
import { siglip2, siglip2Stages } from '../networks/siglip2.ts';
import type { Stage } from '../offload/stage.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { locateModel } from '../weights/locate.ts';
import { identityOf, type ModelIdentity } from './model-identity.ts';

/** Opens the encoders that a job needs: headers only, so it takes milliseconds and fails before any work. */

/** Something that an encoder makes of an image. */
export interface EncoderOutput {
  readonly name: EmbeddingName;
  /** Values of one image. */
  readonly width: number;
  /** What the network's stages call it. */
  readonly emitted: string;
}

export interface OpenEncoder extends ModelIdentity {
  readonly name: 'siglip2' | 'dinov3' | 'qwen2.5-vl';
  readonly stages: readonly Stage[];
  readonly outputs: readonly EncoderOutput[];
  /** Name of the state that its first stage takes. */
  readonly state: string;
  /** Sides of the crops that it needs. */
  readonly crops: readonly number[];
  /** Its own processor: from an image's crops to the state of one image, [1, ...]. */
  readonly prepare: (crops: Crops) => HostTensor;
}

/** The encoders that make these embeddings. @throws I2lError MODEL_MISSING, MODEL_UNRECOGNISED … */
export function openEncoders(models: ModelsChoice | undefined, embeddings: readonly EmbeddingName[]): OpenEncoder[] {
  const wanted = (name: EmbeddingName): boolean => embeddings.includes(name);
  const pictures = PICTURES.filter(({ name }) => wanted(name));
  return [
    ...(wanted('siglip2') ? [openVectorEncoder(models, 'siglip2-g384', 'siglip2', siglip2, siglip2Stages, siglipPixels)] : []),
    ...(wanted('dinov3') ? [openVectorEncoder(models, 'dinov3-7b', 'dinov3', dinov3, dinov3Stages, dinoPixels)] : []),
    ...(pictures.length > 0 ? [openQwen(models, pictures)] : []),
  ];
}

function cropOf(crops: Crops, side: number): Pixels<Uint8Array> {
  const crop = crops.get(side);
  if (!crop) throw new RangeError(`the crop of ${side} pixels was not made`);
  return crop;
}

/** An encoder that makes one vector of an image. */
function openVectorEncoder<Config extends object>(
  models: ModelsChoice | undefined,
  id: string,
  name: 'siglip2' | 'dinov3',
  network: Network<Config>,
  stagesOf: (scope: Scope, config: Config) => EncoderStages,
  prepare: (crop: Pixels<Uint8Array>, side: number) => HostTensor,
): OpenEncoder {
  const { path, configPath } = locateModel(models, id);
  const checkpoint = Checkpoint.open(path);
  const { config, publishedId } = recognise(network, checkpoint, configPath);
  const { stages, width, imageSize } = stagesOf(new CheckpointScope(checkpoint), config);
  return {
    ...identityOf(checkpoint, publishedId ?? name),
    name,
    stages,
    outputs: [{ name, width, emitted: 'embedding' }],
    state: 'pixels',
    crops: [CROP_SIDE],
    prepare: (crops) => prepare(cropOf(crops, CROP_SIDE), imageSize),
  };
}

interface PictureKind {
  readonly name: EmbeddingName;
  readonly crop: number;
}

/** What Qwen2.5-VL is shown for Coarse and for Fine. */
const PICTURES: readonly PictureKind[] = [
  { name: 'qwen-low', crop: LOW_CROP_SIDE },
  { name: 'qwen-high', crop: CROP_SIDE },
];

function openQwen(models: ModelsChoice | undefined, kinds: readonly PictureKind[]): OpenEncoder {
  const { path, configPath } = locateModel(models, 'qwen2.5-vl-7b');
  const checkpoint = Checkpoint.open(path);
  const { config, publishedId } = recognise(qwen25vl, checkpoint, configPath);
  const { patch } = config;
  const resolutions = kinds.map(({ name, crop }) => ({ name, crop, side: qwenSide(crop, patch) }));
  const { stages, pictures, width } = qwen25vlStages(new CheckpointScope(checkpoint), config, resolutions);
  return {
    ...identityOf(checkpoint, publishedId ?? 'qwen2.5-vl'),
    name: 'qwen2.5-vl',
    stages,
    outputs: pictures.map(({ name, tokens }, i) => ({ name: kinds[i]?.name ?? 'qwen-low', emitted: name, width: tokens * width })),
    state: 'patches',
    crops: kinds.map(({ crop }) => crop),
    prepare: (crops) => inSequence(resolutions.map(({ crop, side }) => qwenPatches(cropOf(crops, crop), side, patch))),
  };
}

/** Patches of several pictures, one after another: [1, all patches, values]. */
function inSequence(pictures: readonly HostTensor[]): HostTensor {
  const [only] = pictures;
  if (pictures.length === 1 && only) return only;
  const patches = pictures.reduce((sum, { dims }) => sum + (dims[1] ?? 0), 0);
  const values = only?.dims[2] ?? 0;
  const data = new Float32Array(patches * values);
  let at = 0;
  for (const picture of pictures) {
    data.set(picture.data as Float32Array, at);
    at += picture.data.length;
  }
  return { data, dims: [1, patches, values] };
}
