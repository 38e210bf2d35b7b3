import './no-telemetry.ts';
import ort from 'onnxruntime-node';
import { DEVICES, type Device } from '../contract/devices.ts';
import { I2lError } from '../contract/errors.ts';
import type { HostTensor, TensorMap } from '../contract/tensor.ts';
import type { BuiltGraph, GraphOptions } from './graph.ts';
import { outputAt } from './built-graph.ts';

/** The only door to onnxruntime-node. */

export interface SessionOptions {
  readonly device: Device;
  /** Threads inside one operator on the CPU; 0 lets the runtime choose. */
  readonly threads: number;
}

/** What is needed of a graph to run it. */
export type RunnableGraph = Omit<BuiltGraph, 'weights'>;

/** One graph, ready to run; its memory goes with {@link release}. */
export class Session {
  readonly #session: ort.InferenceSession;
  readonly #outputs: readonly string[];

  private constructor(session: ort.InferenceSession, outputs: readonly string[]) {
    this.#session = session;
    this.#outputs = outputs;
  }

  /** @throws I2lError SESSION_FAILED, with the runtime's own words as its cause */
  static async create(graph: RunnableGraph, { device, threads }: SessionOptions): Promise<Session> {
    try {
      return new Session(
        await ort.InferenceSession.create(graph.model, {
          executionProviders: providersOf(graph, device),
          // A stage runs a few times and goes: optimising and packing its weights costs more than it gives.
          graphOptimizationLevel: 'disabled',
          enableCpuMemArena: false,
          enableMemPattern: false,
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          logSeverityLevel: 3,
          extra: { session: sessionConfig(graph) },
        }),
        graph.outputs,
      );
    } catch (error) {
      throw sessionError('made ready', device, error);
    }
  }

  /**
   * Runs it on inputs by name; blocks the thread for the time of the computation.
   * @param outputs names for the results: those of the graph that it was made of, or of another that is made alike
   * @throws I2lError SESSION_FAILED
   */
  async run(inputs: TensorMap, outputs = this.#outputs): Promise<Record<string, HostTensor>> {
    const feeds: Record<string, ort.Tensor> = {};
    for (const [name, tensor] of Object.entries(inputs)) feeds[name] = toRuntime(tensor);
    try {
      const results = await this.#session.run(feeds);
      return Object.fromEntries(outputs.map((name, at) => [name, fromRuntime(results[outputAt(at)] as ort.Tensor)]));
    } catch (error) {
      throw sessionError('run', 'session', error);
    }
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

/** Whether a device casts weights itself; else the CPU does, and they cross as f32. WebGPU has no bf16. */
export function castsOn(device: Device): boolean {
  return device !== 'webgpu';
}

/** What a graph has to avoid on a device. */
export function graphOptionsFor(device: Device): Pick<GraphOptions, 'fusedAttention'> {
  return { fusedAttention: device !== 'webgpu' };
}

function providersOf({ halfCasts }: RunnableGraph, device: Device): ort.InferenceSession.ExecutionProviderConfig[] {
  if (device === 'cpu') return ['cpu'];
  // WebGPU may lack f16, and then refuses to run a graph that names it anywhere.
  if (device === 'webgpu' && halfCasts.length > 0) return [{ name: 'webgpu', forceCpuNodeNames: halfCasts }, 'cpu'];
  return [device, 'cpu'];
}

function sessionConfig({ weightsFolder }: RunnableGraph): Record<string, string> {
  return {
    disable_prepacking: '1',
    // Threads of a session that is kept for the next of its kind would take a core from another one's.
    force_spinning_stop: '1',
    // Lets a graph made in memory find its weights.
    ...(weightsFolder === undefined ? {} : { model_external_initializers_file_folder_path: weightsFolder }),
  };
}

function toRuntime({ data, dims }: HostTensor): ort.Tensor {
  if (data instanceof Float32Array) return new ort.Tensor('float32', data, [...dims]);
  if (data instanceof Float64Array) return new ort.Tensor('float64', data, [...dims]);
  if (data instanceof BigInt64Array) return new ort.Tensor('int64', data, [...dims]);
  if (data instanceof Int8Array) return new ort.Tensor('int8', data, [...dims]);
  if (data instanceof Uint8Array) return new ort.Tensor('uint8', data, [...dims]);
  return new ort.Tensor('uint16', data, [...dims]);
}

function fromRuntime(tensor: ort.Tensor): HostTensor {
  const { data, dims } = tensor;
  if (data instanceof Float32Array || data instanceof Float64Array) return { data, dims };
  if (data instanceof Int8Array || data instanceof Uint8Array) return { data, dims };
  if (data instanceof Uint16Array || data instanceof BigInt64Array) return { data, dims };
  // f16 comes as the engine's Float16Array where there is one: its bits are what we store.
  if (tensor.type === 'float16' && ArrayBuffer.isView(data)) {
    return { data: new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2), dims };
  }
  throw new I2lError('SESSION_FAILED', `The runtime gave a tensor of type ${tensor.type}, which no stage asks for.`);
}

function sessionError(what: string, device: string, error: unknown): I2lError {
  const words = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  // Some start with the place in the runtime's source and the condition that failed.
  const reason = words.replace(/^\S+:\d+ .*? was false\. /, '');
  return new I2lError('SESSION_FAILED', `A stage could not be ${what} (${device}): ${reason.slice(0, 300)}`, { device }, error);
}

/** What this build of the runtime can be asked for on this platform; whether it works is another matter. */
export function offeredDevices(): Device[] {
  const names = new Set(ort.listSupportedBackends().map(({ name }) => name));
  return DEVICES.filter((device) => names.has(device));
}
