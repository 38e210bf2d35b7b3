import type { Dtype, HostTensor, TensorRange } from '../contract/tensor.ts';
import { readTensorBytes, valuesIn } from './safetensors.ts';

/** Reads a tensor's values as f32; for small tensors: embeddings, factors of a LoRA. */
export function readValues(range: TensorRange): Float32Array {
  const values = toFloat32(readTensorBytes(range), range.dtype);
  const { scale = 1 } = range;
  return scale === 1 ? values : values.map((value) => value * scale);
}

/** A tensor as the file has it: f32, or the bits of a narrower type. */
export function readBits(range: TensorRange): HostTensor {
  const bytes = readTensorBytes(range); // A pooled Buffer starts at a multiple of 8.
  const place = [bytes.buffer, bytes.byteOffset, valuesIn(range)] as const;
  switch (range.dtype) {
    case 'F32':
      return { data: new Float32Array(...place), dims: range.shape };
    case 'BF16':
    case 'F16':
      return { data: new Uint16Array(...place), dims: range.shape };
    case 'F8_E4M3':
      return { data: new Uint8Array(...place), dims: range.shape };
  }
}

/** Some columns of a matrix [rows, columns], as a matrix of their own. */
export function columnsOf({ data, dims }: HostTensor, first: number, count: number): HostTensor {
  const [rows = 0, columns = 0] = dims;
  const own = data.slice(0, rows * count);
  for (let to = 0, from = first; to < own.length; from += columns - count) {
    for (const end = to + count; to < end; to++, from++) own[to] = data[from] as number;
  }
  return { data: own, dims: [rows, count] };
}

/** Raw little-endian values to f32; every value of the narrower types is exact in it. */
export function toFloat32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  // A copy of its own: a Buffer may start at an odd address of a shared pool (and its slice() is a view).
  const own = new Uint8Array(bytes);
  switch (dtype) {
    case 'F32':
      return new Float32Array(own.buffer);
    case 'BF16':
      return fromBits(Uint32Array.from(new Uint16Array(own.buffer), (half) => half << 16));
    case 'F16':
      return Float32Array.from(new Uint16Array(own.buffer), fromFloat16);
    case 'F8_E4M3':
      return Float32Array.from(own, fromFloat8);
  }
}

function fromBits(bits: Uint32Array): Float32Array {
  return new Float32Array(bits.buffer);
}

function fromFloat16(half: number): number {
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** E4M3 without infinities, https://arxiv.org/abs/2209.05433 */
function fromFloat8(byte: number): number {
  const exponent = (byte >> 3) & 0xf;
  const fraction = byte & 7;
  const sign = byte & 0x80 ? -1 : 1;
  if (exponent === 15 && fraction === 7) return Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -9;
  return sign * (1 + fraction / 8) * 2 ** (exponent - 7);
}

/** The bits of the nearest bf16 (ties to even), for making files. */
export function toBfloat16(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0] as number;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** The raw bytes of f32 values. */
export function float32Bytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
