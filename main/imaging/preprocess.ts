import type { HostTensor } from '../contract/tensor.ts';
import { bytesByRow, resampleBytes, resampleFloats, type Pixels, type RowResampler, type RowSource } from './resample.ts';

/**
 * From an upright RGB image to what the encoders read, step by step as DiffSynth-Studio's
 * Image2LoRAEncode does it: cover a square of 1024 pixels, cut its middle out, then each encoder's own
 * processor. A change here changes embeddings: raise the version, which is part of their cache key.
 */
export const PREPROCESSING_VERSION = 1;

export const CROP_SIDE = 1024;
/** Of the small picture that the Coarse expert's residual is made of. */
export const LOW_CROP_SIDE = 224;

/** Cuts the square that the encoders see out of an image whose rows come one by one. @returns side x side pixels */
export function cropByRow(source: RowSource, side = CROP_SIDE): RowResampler<Uint8Array> {
  const scale = Math.max(side / source.width, side / source.height);
  const to = { width: roundHalfEven(source.width * scale), height: roundHalfEven(source.height * scale) };
  const left = roundHalfEven((to.width - side) / 2);
  const top = roundHalfEven((to.height - side) / 2);
  return bytesByRow(source, to, { rounding: 'pillow', window: { left, top, width: side, height: side } });
}

/** 1 / 255 as the processors hold it. */
const RESCALE = Math.fround(0.00392156862745098);

/** SiglipImageProcessor: resized in 8 bits, then (x / 255 - 0.5) / 0.5. @returns [1, 3, side, side] */
export function siglipPixels(crop: Pixels<Uint8Array>, side: number): HostTensor {
  const resized = resampleBytes(crop, { width: side, height: side }, { rounding: 'torch' });
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

const CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073];
const CLIP_DEVIATION = [0.26862954, 0.26130258, 0.27577711];
const FRAMES = 2;
const MERGE = 2;

/** Pixels along a side that Qwen2.5-VL reads of a picture: whole tokens of 2 x 2 patches. */
export function qwenSide(side: number, patch: number): number {
  return roundHalfEven(side / patch / MERGE) * patch * MERGE;
}

/**
 * Qwen2VLImageProcessor: resized in 8 bits, bicubic, then CLIP's mean and deviation, then cut into patches.
 * The four patches of a token follow each other, tokens row by row; a patch is [channel, frame, row, column],
 * where a picture's two frames are the same.
 * @returns [1, (side / patch)^2, 3 * 2 * patch^2]
 */
export function qwenPatches(crop: Pixels<Uint8Array>, side: number, patch: number): HostTensor {
  const resized = resampleBytes(crop, { width: side, height: side }, { rounding: 'torch', filter: 'bicubic' });
  const grid = side / patch;
  const values = resized.channels * FRAMES * patch * patch;
  const data = new Float32Array(grid * grid * values);
  for (let at = 0; at < grid * grid; at++) {
    const { row, column } = patchPlace(at, grid);
    writePatch(resized, row * patch, column * patch, patch, data.subarray(at * values, (at + 1) * values));
  }
  return { data, dims: [1, grid * grid, values] };
}

/** Where the patch lies that comes at this place. */
function patchPlace(at: number, grid: number): { row: number; column: number } {
  const [token, part] = [Math.floor(at / MERGE ** 2), at % MERGE ** 2];
  const across = grid / MERGE;
  return {
    row: Math.floor(token / across) * MERGE + Math.floor(part / MERGE),
    column: (token % across) * MERGE + (part % MERGE),
  };
}

function writePatch(
  { data, width, channels }: Pixels<Uint8Array>,
  top: number,
  left: number,
  patch: number,
  out: Float32Array,
): void {
  const area = patch * patch;
  for (let channel = 0; channel < channels; channel++) {
    const first = channel * FRAMES * area;
    const [mean = 0, deviation = 1] = [CLIP_MEAN[channel], CLIP_DEVIATION[channel]];
    for (let i = 0; i < area; i++) {
      const pixel = (top + Math.floor(i / patch)) * width + left + (i % patch);
      out[first + i] = ((data[pixel * channels + channel] as number) - mean * 255) / (deviation * 255);
    }
    out.copyWithin(first + area, first, first + area);
  }
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
