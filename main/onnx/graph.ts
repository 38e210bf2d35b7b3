import type { Dtype, TensorRange } from '../contract/tensor.ts';
import {
  broadcast,
  bytesOf,
  expectDims,
  flatten,
  IMAGES,
  misfit,
  pair,
  sameDims,
  scale,
  triple,
  dimsText,
  valuesPerImage,
  type Dim,
  type Value,
} from './dims.ts';
import { liveBytes, sumBytes, type GraphCost } from './cost.ts';
import { plainAttention } from './plain-attention.ts';
import { commonFolder, externalTensor, placeOf } from './external-data.ts';
import {
  ELEMENT,
  encodeAttribute,
  encodeModel,
  identity,
  type AttributeValue,
  type ElementType,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './proto.ts';

export { IMAGES, type Dim, type Value } from './dims.ts';

/**
 * Builds the small ONNX graphs that the engine runs. Weights are external data: a file, an offset and a
 * length within the downloaded checkpoint itself, so a graph is a few kilobytes and nothing is converted
 * or copied. All arithmetic is in f32; weights of other types pass a Cast in the graph.
 *
 * Operators: https://onnx.ai/onnx/operators/, and com.microsoft's in
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
 */
const OPSET = 26; // BitCast needs it.
const IR_VERSION = 13;
const CONTRIB = 'com.microsoft';

const STORED: Readonly<Record<Dtype, ElementType>> = {
  F32: ELEMENT.FLOAT,
  F16: ELEMENT.FLOAT16,
  BF16: ELEMENT.BFLOAT16,
  F8_E4M3: ELEMENT.FLOAT8E4M3FN,
};

/** A finished graph: the model's bytes, and the folder that its weights' paths are relative to. */
export interface BuiltGraph {
  readonly model: Uint8Array;
  readonly weightsFolder: string | undefined;
  readonly outputs: readonly string[];
  /** Nodes between f16 and f32: for a device that has no f16, the CPU runs them. */
  readonly halfCasts: readonly string[];
}

export interface GraphOptions {
  readonly fusedAttention: boolean;
}

export class Graph {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: Value[] = [];
  readonly #outputs: { readonly name: string; readonly value: Value }[] = [];
  readonly #weights = new Map<string, { readonly range: TensorRange; readonly value: Value }>();
  readonly #values = new Map<string, Value>();
  readonly #halfCasts: string[] = [];
  readonly #fusedAttention: boolean;
  #flops = { fixed: 0, perImage: 0 };

  /** @param options fusedAttention: one operator for attention, where the device has a right one */
  constructor({ fusedAttention }: GraphOptions = { fusedAttention: true }) {
    this.#fusedAttention = fusedAttention;
  }

  // ---- edges -------------------------------------------------------------------------------------

  input(name: string, dims: readonly Dim[], type: ElementType = ELEMENT.FLOAT): Value {
    const value = this.#value(name, dims, type);
    this.#inputs.push(value);
    return value;
  }

  output(name: string, value: Value): void {
    this.#outputs.push({ name, value });
  }

  /** f32 constant, kept in the graph; for small tables only. */
  constant(data: Float32Array, dims: readonly number[]): Value {
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return this.#initializer(raw, dims, ELEMENT.FLOAT);
  }

  /** f64 constant; for the small matrices of LoRA algebra. */
  doubles(data: Float64Array, dims: readonly number[]): Value {
    return this.#initializer(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), dims, ELEMENT.DOUBLE);
  }

  integers(values: readonly number[]): Value {
    const data = BigInt64Array.from(values, BigInt);
    return this.#initializer(new Uint8Array(data.buffer), [values.length], ELEMENT.INT64);
  }

  /** A tensor of the checkpoint, as f32. */
  weight(range: TensorRange): Value {
    const stored = this.#stored(range);
    return range.dtype === 'F32' ? stored : this.cast(stored, ELEMENT.FLOAT);
  }

  // ---- layers ------------------------------------------------------------------------------------

  /**
   * x W^T + b over the last dimension. Gemm with transB reads the published (out, in) layout as it lies.
   * @param x [..., in]; @param weight [out, in]; @param bias [out]. @returns [..., out]
   */
  linear(x: Value, weight: TensorRange, bias?: TensorRange): Value {
    const [out, inner] = pair(weight.shape, weight.name);
    if (x.dims.at(-1) !== inner) throw misfit('linear', x, `last dimension ${inner} of ${weight.name}`);
    const rows = flatten(x.dims.slice(0, -1));
    const flat = this.reshape(x, [rows, inner]);
    const inputs = [flat, this.weight(weight), ...(bias ? [this.#vector(bias, out)] : [])];
    const result = this.node('Gemm', inputs, [rows, out], { transB: 1 });
    this.#countFlops(x, 2 * inner * out);
    return this.reshape(result, [...x.dims.slice(0, -1), out]);
  }

  /** @param x [..., d]. @returns [..., d] */
  layerNorm(x: Value, weight: TensorRange, bias: TensorRange, epsilon: number): Value {
    const width = x.dims.at(-1);
    const inputs = [x, this.#vector(weight, width), this.#vector(bias, width)];
    return this.node('LayerNormalization', inputs, x.dims, { axis: -1, epsilon: { float: epsilon } });
  }

  /** x / sqrt(mean(x^2) + epsilon) * weight. @param x [..., d]. @returns [..., d] */
  rmsNorm(x: Value, weight: TensorRange, epsilon: number): Value {
    return this.node('RMSNormalization', [x, this.#vector(weight, x.dims.at(-1))], x.dims, {
      axis: -1,
      epsilon: { float: epsilon },
    });
  }

  /**
   * softmax(q k^T * scale) v, head by head.
   * @param q [n, t, heads * h]; @param k and v [n, s, heads * h]; scale is 1 / sqrt(h). @returns [n, t, heads * h]
   */
  attention(q: Value, k: Value, v: Value, heads: number): Value {
    const [, queries, width] = triple(q);
    const [, keys] = triple(k);
    if (width % heads !== 0) throw misfit('attention', q, `a width that ${heads} heads divide`);
    for (const part of [k, v]) expectDims('attention', part, [q.dims[0], keys, width]);
    this.#countFlops(q, 0, 4 * queries * keys * width);
    if (!this.#fusedAttention) return plainAttention(this, q, k, v, heads);
    return this.node('MultiHeadAttention', [q, k, v], q.dims, { num_heads: heads }, CONTRIB);
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
    const grid = this.node('Conv', [pixels, this.weight(weight), this.#vector(bias, out)], [IMAGES, out, rows, columns], {
      kernel_shape: [patch, patch],
      strides: [patch, patch],
    });
    this.#countFlops(grid, 0, 2 * rows * columns * out * channels * patch * patch);
    return this.transpose(this.reshape(grid, [IMAGES, out, rows * columns]), [0, 2, 1]);
  }

  // ---- shapes and arithmetic ---------------------------------------------------------------------

  add(a: Value, b: Value): Value {
    return this.node('Add', [a, b], broadcast(a, b));
  }

  mul(a: Value, b: Value): Value {
    return this.node('Mul', [a, b], broadcast(a, b));
  }

  /** Only one dimension may follow from the number of images; the others are given. */
  reshape(x: Value, dims: readonly Dim[]): Value {
    if (sameDims(x.dims, dims)) return x;
    if (valuesPerImage(x.dims) !== valuesPerImage(dims) || scale(x.dims) !== scale(dims))
      throw misfit('reshape', x, dimsText(dims));
    const target = this.integers(dims.map((size) => (typeof size === 'number' ? size : -1)));
    return this.node('Reshape', [x, target], dims);
  }

  transpose(x: Value, order: readonly number[]): Value {
    const dims = order.map((axis) => x.dims[axis] ?? 1);
    if (new Set(order).size !== order.length || !x.dims.every((_, axis) => order.includes(axis)))
      throw misfit('transpose', x, `axes ${order.join()}`);
    return this.node('Transpose', [x], dims, { perm: order });
  }

  concat(parts: readonly Value[], axis: number): Value {
    const [first] = parts;
    if (!first) throw new RangeError('concat of nothing');
    for (const part of parts) expectDims('concat', part, first.dims.with(axis, part.dims.at(axis) ?? 0));
    const along = parts.reduce((sum, part) => sum + Number(part.dims.at(axis)), 0);
    if (Number.isNaN(along)) throw misfit('concat', first, `an axis of fixed size, not ${axis}`);
    return this.node('Concat', parts, first.dims.with(axis, along), { axis });
  }

  /** One row of each image: [n, t, d] -> [n, d]. */
  row(x: Value, index: number): Value {
    const [, rows, width] = triple(x);
    if (index < 0 || index >= rows) throw misfit('row', x, `a row ${index}`);
    const indices = this.#initializer(new Uint8Array(BigInt64Array.of(BigInt(index)).buffer), [], ELEMENT.INT64);
    return this.node('Gather', [x, indices], [IMAGES, width], { axis: 1 });
  }

  /** The same values for every image: [1, ...] -> [n, ...], n taken from `like`. */
  repeat(x: Value, like: Value): Value {
    const rest = x.dims.slice(1).map(Number);
    expectDims('repeat', x, [1, ...rest]);
    const shape = this.node('Shape', [like], [1], { start: 0, end: 1 }, '', ELEMENT.INT64);
    const target = this.node('Concat', [shape, this.integers(rest)], [1 + rest.length], { axis: 0 }, '', ELEMENT.INT64);
    return this.node('Expand', [x, target], [IMAGES, ...rest]);
  }

  cast(x: Value, to: ElementType): Value {
    if (x.type === to) return x;
    const cast = this.node('Cast', [x], x.dims, { to }, '', to);
    if (x.type === ELEMENT.FLOAT16 || to === ELEMENT.FLOAT16) this.#halfCasts.push(cast.name);
    return cast;
  }

  /** Rounds to the nearest value of a storage type, and gives its bits; f32 passes unchanged. */
  store(x: Value, dtype: 'F32' | 'F16' | 'BF16'): Value {
    const stored = this.cast(x, STORED[dtype]);
    if (dtype !== 'BF16') return stored;
    return this.node('BitCast', [stored], x.dims, { to: ELEMENT.UINT16 }, '', ELEMENT.UINT16);
  }

  // ---- the rest ----------------------------------------------------------------------------------

  /** Any operator; the layers above are all made of it. */
  node(
    opType: string,
    inputs: readonly Value[],
    dims: readonly Dim[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain = '',
    type: ElementType = ELEMENT.FLOAT,
  ): Value {
    const name = `${opType}_${this.#nodes.length}`;
    this.#nodes.push({
      opType,
      domain,
      name,
      input: inputs.map((input) => input.name),
      output: [name],
      attribute: Object.entries(attributes).map(([key, value]) => encodeAttribute(key, value)),
    });
    return this.#value(name, dims, type);
  }

  build(): BuiltGraph {
    const folder = commonFolder([...this.#weights.values()].map(({ range }) => range.file));
    const { nodes, outputs } = this.#namedOutputs();
    const model = encodeModel({
      irVersion: IR_VERSION,
      producerName: 'i2l-studio',
      opsetImport: [
        { domain: '', version: OPSET },
        { domain: CONTRIB, version: 1 },
      ],
      graph: {
        name: 'stage',
        node: nodes,
        initializer: [...this.#initializers, ...this.#externals(folder)],
        input: this.#inputs.map(valueInfo),
        output: outputs.map(valueInfo),
      },
    });
    return { model, weightsFolder: folder, outputs: outputs.map(({ name }) => name), halfCasts: this.#halfCasts };
  }

  /**
   * Nodes whose results leave the graph get the caller's name for them. What is no node's result, or
   * leaves twice, passes an Identity, which copies.
   */
  #namedOutputs(): { nodes: readonly NodeProto[]; outputs: readonly Value[] } {
    const made = new Set(this.#nodes.flatMap((node) => node.output));
    const renamed = new Map<string, string>();
    const copies: NodeProto[] = [];
    for (const { name, value } of this.#outputs) {
      if (made.has(value.name) && !renamed.has(value.name)) renamed.set(value.name, name);
      else copies.push(identity(renamed.get(value.name) ?? value.name, name));
    }
    const rename = (name: string): string => renamed.get(name) ?? name;
    const nodes = this.#nodes.map((node) => ({ ...node, input: node.input.map(rename), output: node.output.map(rename) }));
    return { nodes: [...nodes, ...copies], outputs: this.#outputs.map(({ name, value }) => ({ ...value, name })) };
  }

  cost(): GraphCost {
    const outputs = this.#outputs.map(({ value }) => value);
    return {
      weights: [...new Map([...this.#weights.values()].map(({ range }) => [placeOf(range), range])).values()],
      flops: { ...this.#flops },
      live: liveBytes(this.#nodes, this.#inputs, outputs, this.#values),
      stateBytes: this.#inputs.reduce((sum, input) => sum + bytesOf(input), 0),
      results: sumBytes(outputs),
    };
  }

  #value(name: string, dims: readonly Dim[], type: ElementType): Value {
    const value = { name, dims, type };
    this.#values.set(name, value);
    return value;
  }

  #initializer(rawData: Uint8Array, dims: readonly number[], dataType: ElementType): Value {
    const name = `constant_${this.#initializers.length}`;
    this.#initializers.push({ name, dims, dataType, rawData });
    return { name, dims, type: dataType };
  }

  /** A weight of one dimension: of another size, the runtime would broadcast it. */
  #vector(range: TensorRange, size: Dim | undefined): Value {
    const value = this.weight(range);
    expectDims(range.name, value, [size]);
    return value;
  }

  /** Known by its place and shape: two files may have a tensor of the same name, and views share one. */
  #stored(range: TensorRange): Value {
    const key = `${placeOf(range)} ${range.shape.join('x')}`;
    const known = this.#weights.get(key);
    if (known) return known.value;
    const value = { name: `weight_${this.#weights.size}:${range.name}`, dims: range.shape, type: STORED[range.dtype] };
    this.#weights.set(key, { range, value });
    return value;
  }

  #externals(folder: string | undefined): TensorProto[] {
    return [...this.#weights.values()].map(({ range, value }) => externalTensor(value.name, value.type, range, folder ?? ''));
  }

  #countFlops(like: Value, perRow: number, perRun = 0): void {
    const work = perRow * valuesPerImage(like.dims.slice(0, -1)) + perRun;
    this.#flops[scale(like.dims)] += work;
  }
}

function valueInfo({ name, type, dims }: Value): ValueInfoProto {
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: `images_x${size.perImage}` }));
  return { name, type: { tensorType: { elemType: type, shape: { dim } } } };
}
