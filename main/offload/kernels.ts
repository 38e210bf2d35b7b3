import type { Dtype, HostTensor, TensorMap } from '../contract/tensor.ts';
import { Graph, type Value } from '../onnx/graph.ts';
import { STORED } from '../onnx/node-graph.ts';
import { ELEMENT } from '../onnx/proto.ts';
import type { SessionOptions } from '../onnx/runtime.ts';
import { SessionCache } from './session-cache.ts';

/**
 * A small graph that is made once and run for many tensors of the same shapes, which it takes as inputs.
 * For tensors too small to be stages: a session over external data takes longer to make (1 to 3 ms) than
 * the products of a LoRA's module take.
 */
export interface Kernel {
  readonly name: string;
  readonly inputs: Readonly<Record<string, KernelInput>>;
  /** What else the graph depends on; `name`, `inputs` and this tell kernels apart. */
  readonly settings?: string;
  readonly build: (graph: Graph, take: (input: string) => Value) => Readonly<Record<string, Value>>;
}

export interface KernelInput {
  /** A stored type comes as the file has it, see weights/values.ts readBits. */
  readonly type: Dtype | 'F64';
  readonly dims: readonly number[];
}

/** The sessions of the kernels used last. */
export class Kernels {
  readonly #sessions: SessionCache;

  constructor(options: SessionOptions) {
    this.#sessions = new SessionCache(options);
  }

  /** @throws I2lError SESSION_FAILED */
  async run(kernel: Kernel, feeds: TensorMap): Promise<Readonly<Record<string, HostTensor>>> {
    const session = await this.#sessions.get(kernelKey(kernel), () => graphOf(kernel).build());
    return session.run(feeds);
  }

  close(): Promise<void> {
    return this.#sessions.close();
  }
}

export function kernelKey({ name, inputs, settings = '' }: Kernel): string {
  const types = Object.entries(inputs).map(([input, { type, dims }]) => `${input}:${type}[${dims.join()}]`);
  return [name, ...types, settings].join(' ');
}

/** Bytes that a run takes at its worst node, inputs and results counted. */
export function kernelBytes(kernel: Kernel): number {
  const { live, results } = graphOf(kernel).cost();
  return Math.max(...live.map(({ fixed }) => fixed)) + results.fixed;
}

function graphOf({ name, inputs, build }: Kernel): Graph {
  const graph = new Graph();
  const values = new Map(Object.entries(inputs).map(([input, spec]) => [input, asInput(graph, input, spec)]));
  const results = build(graph, (input) => {
    const value = values.get(input);
    if (!value) throw new RangeError(`the kernel ${name} has no input "${input}"`);
    return value;
  });
  for (const [output, value] of Object.entries(results)) graph.output(output, value);
  return graph;
}

const RAW = { F16: ELEMENT.UINT16, BF16: ELEMENT.UINT16, F8_E4M3: ELEMENT.UINT8 } as const;

function asInput(graph: Graph, name: string, { type, dims }: KernelInput): Value {
  if (type === 'F32') return graph.input(name, dims);
  if (type === 'F64') return graph.input(name, dims, ELEMENT.DOUBLE);
  return graph.node('BitCast', [graph.input(name, dims, RAW[type])], dims, { to: STORED[type] }, '', STORED[type]);
}
