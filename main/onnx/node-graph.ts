import type { ByteRange, Dtype, TensorRange } from '../contract/tensor.ts';
import { expectDims, scale, valuesPerImage, bytesOf, type Dim, type Value } from './dims.ts';
import { outputAt, type BuiltGraph, type WeightsAs } from './built-graph.ts';
import { castsFirst, liveBytes, sumBytes, type GraphCost } from './cost.ts';
import { likenessOf } from './likeness.ts';
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

const OPSET = 26; // BitCast needs it.
const IR_VERSION = 13;
export const CONTRIB = 'com.microsoft';

export const STORED: Readonly<Record<Dtype, ElementType>> = {
  F32: ELEMENT.FLOAT,
  F16: ELEMENT.FLOAT16,
  BF16: ELEMENT.BFLOAT16,
  F8_E4M3: ELEMENT.FLOAT8E4M3FN,
};

interface Weight {
  readonly range: ByteRange;
  readonly input?: Value;
  /** As it lies in the file. */
  readonly stored: Value;
  /** As f32, once somebody asked for it; without its scale, and with it. */
  full?: Value;
  scaled?: Value;
}

/** Whole numbers of one byte. */
export type ByteElement = typeof ELEMENT.INT8 | typeof ELEMENT.UINT8;

/** How bytes of a stored type are handed over: the runtime's own bf16, f16 and f8 can't be. (It has no BitCast to f8 yet.) */
const FED_AS = {
  F32: ELEMENT.FLOAT,
  F16: ELEMENT.UINT16,
  BF16: ELEMENT.UINT16,
  F8_E4M3: ELEMENT.UINT8,
} as const satisfies Record<Dtype, ElementType>;

/**
 * Nodes, weights, inputs and outputs of a graph, and what a run of it costs. A graph is a few kilobytes: of its weights it
 * knows where they lie, and nothing is converted on disk. All arithmetic is in f32; weights of other types pass a Cast in
 * the graph. {@link Graph} adds the layers.
 */
export class NodeGraph {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: Value[] = [];
  readonly #outputs: { readonly name: string; readonly value: Value }[] = [];
  readonly #weights = new Map<string, Weight>();
  readonly #values = new Map<string, Value>();
  readonly #halfCasts: string[] = [];
  #flops = { fixed: 0, perImage: 0 };
  readonly #weightsAs: WeightsAs;

  constructor(weightsAs: WeightsAs) {
    this.#weightsAs = weightsAs;
  }

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

  /** @param dims [values.length], or [] for a single one */
  integers(values: readonly number[], dims: readonly number[] = [values.length]): Value {
    const data = new BigInt64Array(values.map((value) => BigInt(value)));
    return this.#initializer(new Uint8Array(data.buffer), dims, ELEMENT.INT64);
  }

  /** A tensor of the checkpoint, as f32. */
  weight(range: TensorRange): Value {
    const full = this.unscaled(range);
    if (range.scale === undefined) return full;
    const scale = this.constant(Float32Array.of(range.scale), [1]);
    return (this.#stored(range).scaled ??= this.node('Mul', [full, scale], full.dims));
  }

  /** A byte constant. */
  byte(value: number, dims: readonly number[], type: ByteElement): Value {
    return this.#initializer(Uint8Array.of(value), dims, type);
  }

  /** Bytes of a file as they lie there. */
  bytes(range: ByteRange, type: ByteElement): Value {
    return this.#stored(range, type).stored;
  }

  /** The same without the factor that a file of scaled fp8 keeps beside it. */
  protected unscaled(range: TensorRange): Value {
    const weight = this.#stored(range);
    return (weight.full ??= range.dtype === 'F32' ? weight.stored : this.cast(weight.stored, ELEMENT.FLOAT));
  }

  /** Columns of a matrix that is fed, as f32 without its scale. @returns [rows, count] */
  protected columns(range: TensorRange, first: number, count: number): Value {
    const key = `${placeOf(range)} columns ${first}+${count}`;
    const known = this.#weights.get(key);
    if (known) return known.stored;
    const input = this.#fedInput(range, FED_AS[range.dtype]);
    const dims = [range.shape[0] ?? 0, count];
    const bounds = [first, first + count, 1].map((at) => this.integers([at]));
    const bits = this.node('Slice', [input, ...bounds], dims, {}, '', input.type);
    const stored = this.cast(this.#asStored(bits, STORED[range.dtype]), ELEMENT.FLOAT);
    this.#weights.set(key, { range, input, stored });
    return stored;
  }

  /** A weight of one dimension: of another size, the runtime would broadcast it. */
  vector(range: TensorRange, size: Dim | undefined): Value {
    const value = this.weight(range);
    expectDims(range.name, value, [size]);
    return value;
  }

  cast(x: Value, to: ElementType): Value {
    if (x.type === to) return x;
    const cast = this.node('Cast', [x], x.dims, { to }, '', to);
    if (x.type === ELEMENT.FLOAT16 || to === ELEMENT.FLOAT16) this.#halfCasts.push(cast.name);
    return cast;
  }

  /** Any operator; the layers are all made of it. */
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
    const weights = [...this.#weights.values()];
    const mapped = weights.filter(({ input }) => !input);
    const folder = commonFolder(mapped.map(({ range }) => range.file));
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
        initializer: [
          ...this.#initializers,
          ...mapped.map(({ range, stored }) => externalTensor(stored.name, stored.type, range, folder ?? '')),
        ],
        input: [...this.#inputs, ...weights.flatMap(({ input }) => input ?? [])].map(valueInfo),
        output: outputs.map(valueInfo),
      },
    });
    return {
      model,
      weightsFolder: folder,
      weights: weights.map(({ range, input }) => (input ? { range, input: { name: input.name, type: input.type } } : { range })),
      outputs: this.#outputs.map(({ name }) => name),
      halfCasts: this.#halfCasts,
    };
  }

  /**
   * Nodes whose results leave the graph get the outputs' names for them. What is no node's result, or
   * leaves twice, passes an Identity, which copies.
   */
  #namedOutputs(): { nodes: readonly NodeProto[]; outputs: readonly Value[] } {
    const made = new Set(this.#nodes.flatMap((node) => node.output));
    const renamed = new Map<string, string>();
    const copies: NodeProto[] = [];
    this.#outputs.forEach(({ value }, at) => {
      const name = outputAt(at);
      if (made.has(value.name) && !renamed.has(value.name)) renamed.set(value.name, name);
      else copies.push(identity(renamed.get(value.name) ?? value.name, name));
    });
    const rename = (name: string): string => renamed.get(name) ?? name;
    const nodes = castsFirst(this.#nodes, this.#values).map((node) => ({
      ...node,
      input: node.input.map(rename),
      output: node.output.map(rename),
    }));
    return { nodes: [...nodes, ...copies], outputs: this.#outputs.map(({ value }, at) => ({ ...value, name: outputAt(at) })) };
  }

  /** Of weights, each once, in the order of use. */
  get ranges(): readonly ByteRange[] {
    return [...new Map([...this.#weights.values()].map(({ range }) => [placeOf(range), range])).values()];
  }

  /** See {@link likenessOf}. */
  get likeness(): string {
    const [weights, outputs] = [[...this.#weights.values()], this.#outputs.map(({ value }) => value)];
    return likenessOf({ nodes: this.#nodes, values: this.#values, weights, inputs: this.#inputs, outputs, flops: this.#flops });
  }

  cost(): GraphCost {
    const outputs = this.#outputs.map(({ value }) => value);
    const live = liveBytes(castsFirst(this.#nodes, this.#values), this.#inputs, outputs, this.#values);
    return {
      weights: this.ranges,
      flops: { ...this.#flops },
      live,
      inputBytes: this.#inputs.reduce((sum, input) => sum + bytesOf(input), 0),
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

  /** Known by its place and shape: two files may have a tensor of the same name, and views share one. */
  #stored(range: TensorRange): Weight;
  #stored(range: ByteRange, type: ElementType): Weight;
  #stored(range: ByteRange & { readonly dtype?: Dtype }, type = STORED[range.dtype ?? 'F32']): Weight {
    const key = `${placeOf(range)} ${range.shape.join('x')}`;
    const known = this.#weights.get(key);
    if (known) return known;
    const weight = this.#weightsAs === 'fed' ? this.#fed(range, type) : this.#mapped(range, type);
    this.#weights.set(key, weight);
    return weight;
  }

  #mapped(range: ByteRange, type: ElementType): Weight {
    return { range, stored: { name: `weight_${this.#weights.size}:${range.name}`, dims: range.shape, type } };
  }

  #fed(range: ByteRange & { readonly dtype?: Dtype }, type: ElementType): Weight {
    const input = this.#fedInput(range, range.dtype ? FED_AS[range.dtype] : type);
    return { range, input, stored: this.#asStored(input, type) };
  }

  #fedInput(range: ByteRange, type: ElementType): Value {
    return { name: `weight_${this.#weights.size}`, dims: range.shape, type };
  }

  #asStored(bits: Value, type: ElementType): Value {
    return bits.type === type ? bits : this.node('BitCast', [bits], bits.dims, { to: type }, '', type);
  }

  /** @param perRow of each row of `like`; @param perImage of each image */
  protected countFlops(like: Value, perRow: number, perImage = 0): void {
    const work = perRow * valuesPerImage(like.dims.slice(0, -1)) + perImage;
    this.#flops[scale(like.dims)] += work;
  }
}

function valueInfo({ name, type, dims }: Value): ValueInfoProto {
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: `images_x${size.perImage}` }));
  return { name, type: { tensorType: { elemType: type, shape: { dim } } } };
}
