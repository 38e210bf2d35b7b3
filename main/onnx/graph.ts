import type { TensorRange } from '../contract/tensor.ts';
import { expectDims, IMAGES, misfit, triple, valuesPerImage, type Dim, type Value } from './dims.ts';
import { CONTRIB } from './node-graph.ts';
import { plainAttention } from './plain-attention.ts';
import { ProductGraph, type ProductOptions } from './product-graph.ts';

export { IMAGES, type Dim, type Value } from './dims.ts';
export type { BuiltGraph, WeightsAs } from './built-graph.ts';
export type { Share } from './product-graph.ts';

export interface GraphOptions extends ProductOptions {
  /** One operator for attention, where the device has a right one. */
  readonly fusedAttention: boolean;
}

/**
 * The small ONNX graphs that the engine runs, layer by layer.
 *
 * Operators: https://onnx.ai/onnx/operators/, and com.microsoft's in
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
export class Graph extends ProductGraph {
  readonly #fusedAttention: boolean;

  constructor({ fusedAttention, ...options }: GraphOptions = { fusedAttention: true }) {
    super(options);
    this.#fusedAttention = fusedAttention;
  }

  /** @param x [..., d]. @returns [..., d] */
  layerNorm(x: Value, weight: TensorRange, bias: TensorRange, epsilon: number): Value {
    const width = x.dims.at(-1);
    const inputs = [x, this.vector(weight, width), this.vector(bias, width)];
    return this.node('LayerNormalization', inputs, x.dims, { axis: -1, epsilon: { float: epsilon } });
  }

  /** x / sqrt(mean(x^2) + epsilon) * weight. @param x [..., d]. @returns [..., d] */
  rmsNorm(x: Value, weight: TensorRange, epsilon: number): Value {
    return this.node('RMSNormalization', [x, this.vector(weight, x.dims.at(-1))], x.dims, {
      axis: -1,
      epsilon: { float: epsilon },
    });
  }

  /**
   * softmax(q k^T * scale) v, head by head. n may be images, or windows of images.
   * @param q [n, t, heads * h]; @param k and v [n, s, heads * h]; scale is 1 / sqrt(h). @returns [n, t, heads * h]
   */
  attention(q: Value, k: Value, v: Value, heads: number): Value {
    const [images, queries, width] = triple(q);
    const [, keys] = triple(k);
    if (width % heads !== 0) throw misfit('attention', q, `a width that ${heads} heads divide`);
    for (const part of [k, v]) expectDims('attention', part, [images, keys, width]);
    this.countFlops(q, 0, 4 * valuesPerImage([images]) * queries * keys * width);
    if (!this.#fusedAttention) return plainAttention(this, q, k, v, heads);
    return this.node('MultiHeadAttention', [q, k, v], q.dims, { num_heads: heads }, CONTRIB);
  }

  /** The same, where a query sees the keys up to its own place. */
  causalAttention(q: Value, k: Value, v: Value, heads: number): Value {
    const [images, tokens, width] = triple(q);
    for (const part of [k, v]) expectDims('causal attention', part, q.dims);
    this.countFlops(q, 0, 2 * valuesPerImage([images]) * tokens * tokens * width);
    return plainAttention(this, q, k, v, heads, { causal: true });
  }

  /**
   * Rotary position embedding in the half-split form: each head's first half is paired with its second.
   * @param x [n, t, heads * h]; @param cos and sin [t, h / 2], one angle a position and pair.
   */
  rope(x: Value, cos: Value, sin: Value, heads: number): Value {
    const [, tokens, width] = triple(x);
    if (width % (2 * heads) !== 0) throw misfit('rope', x, `a width that ${heads} heads divide into pairs`);
    for (const table of [cos, sin]) expectDims('rope', table, [tokens, width / heads / 2]);
    const firstPosition = this.integers([0]);
    return this.node('RotaryEmbedding', [x, firstPosition, cos, sin], x.dims, { num_heads: heads }, CONTRIB);
  }

  /** Gaussian error linear unit in its tanh approximation. */
  gelu(x: Value): Value {
    return this.node('Gelu', [x], x.dims, { approximate: 'tanh' });
  }

  /** Gaussian error linear unit by the error function. */
  geluExact(x: Value): Value {
    return this.node('Gelu', [x], x.dims, { approximate: 'none' });
  }

  silu(x: Value): Value {
    return this.mul(x, this.node('Sigmoid', [x], x.dims));
  }

  /** silu(gate) * up, the gated activation of SwiGLU; the products around it are `linear`. */
  swiglu(gate: Value, up: Value): Value {
    return this.mul(this.silu(gate), up);
  }

  /**
   * Non-overlapping patches, each through a linear map (a convolution whose stride is its size).
   * @param pixels [n, c, h, w]; @param weight [d, c, p, p]; @returns [n, h/p * w/p, d], row by row
   */
  patchEmbed(pixels: Value, weight: TensorRange, bias: TensorRange): Value {
    const [, channels, height, width] = pixels.dims as readonly [Dim, number, number, number];
    const [out, inner, patch, across] = weight.shape as readonly [number, number, number, number];
    if (across !== patch || inner !== channels || height % patch !== 0 || width % patch !== 0) {
      throw misfit('patchEmbed', pixels, `${inner} channels and sides that ${patch} divides`);
    }
    const [rows, columns] = [height / patch, width / patch];
    const grid = this.node('Conv', [pixels, this.weight(weight), this.vector(bias, out)], [IMAGES, out, rows, columns], {
      kernel_shape: [patch, patch],
      strides: [patch, patch],
    });
    this.countFlops(grid, 0, 2 * rows * columns * out * channels * patch * patch);
    return this.transpose(this.reshape(grid, [IMAGES, out, rows * columns]), [0, 2, 1]);
  }
}
