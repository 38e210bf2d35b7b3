import type { HostTensor } from '../contract/tensor.ts';
import { resampleBytes, resampleFloats, type Pixels } from './resample.ts';

/**
 * From an upright RGB image to what the encoders read, step by step as DiffSynth-Studio's
 * Image2LoRAEncode does it: cover a square of 1024 pixels, cut its middle out, then each encoder's own
 * processor. A change here changes embeddings: raise the version, which is part of their cache key.
 */
export const PREPROCESSING_VERSION = 1;

export const CROP_SIDE = 1024;

/** The square that the encoders see. @returns side x side pixels */
export function coverCrop(image: Pixels<Uint8Array>, side = CROP_SIDE): Pixels<Uint8Array> {
  const scale = Math.max(side / image.width, side / image.height);
  const to = { width: roundHalfEven(image.width * scale), height: roundHalfEven(image.height * scale) };
  const left = roundHalfEven((to.width - side) / 2);
  const top = roundHalfEven((to.height - side) / 2);
  return resampleBytes(image, to, 'pillow', { left, top, width: side, height: side });
}

/** 1 / 255 as the processors hold it. */
const RESCALE = Math.fround(0.00392156862745098);

/** SiglipImageProcessor: resized in 8 bits, then (x / 255 - 0.5) / 0.5. @returns [1, 3, side, side] */
export function siglipPixels(crop: Pixels<Uint8Array>, side: number): HostTensor {
  const resized = resampleBytes(crop, { width: side, height: side }, 'torch');
  return planar(resized, () => (value) => (value - 127.5) / 127.5);
}

const IMAGENET_MEAN = [0.485, 0.456, 0.406];
const IMAGENET_DEVIATION = [0.229, 0.224, 0.225];

/**
 * DINOv3ViTImageProcessor: x / 255 first, resized in floating point, then ImageNet's mean and deviation.
 * @returns [1, 3, side, side]
 */
export function dinoPixels(crop: Pixels<Uint8Array>, side: number): HostTensor {
  const scaled = new Float32Array(crop.data.length); // TypedArray.from would build a list of all values first.
  for (let i = 0; i < scaled.length; i++) scaled[i] = (crop.data[i] as number) * RESCALE;
  const resized = resampleFloats({ ...crop, data: scaled }, { width: side, height: side });
  return planar(resized, (channel) => {
    const [mean = 0, deviation = 1] = [IMAGENET_MEAN[channel], IMAGENET_DEVIATION[channel]];
    return (value) => (value - mean) / deviation;
  });
}

/** Interleaved to planar, each channel through a function of its own. */
function planar(image: Pixels<Uint8Array | Float32Array>, ofChannel: (channel: number) => (value: number) => number): HostTensor {
  const { width, height, channels } = image;
  const plane = width * height;
  const data = new Float32Array(channels * plane);
  for (let channel = 0; channel < channels; channel++) {
    const map = ofChannel(channel);
    for (let i = 0; i < plane; i++) data[channel * plane + i] = map(image.data[i * channels + channel] as number);
  }
  return { data, dims: [1, channels, height, width] };
}

/** Python's round(): halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
