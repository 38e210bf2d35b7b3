import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import type { Metadata } from '../lora/metadata.ts';
import { factorName, LoraWriter, type LoraShape, type RankedModule } from '../lora/write-lora.ts';
import type { Factor } from '../lora/keys.ts';
import type { NetworkRun } from '../offload/executor.ts';
import type { NetworkRunner, PreparedNetwork } from './context.ts';

export interface LoraFileRequest extends LoraShape {
  readonly output: string;
  readonly metadata: Metadata;
}

export interface LoraOutcome {
  readonly output: string;
  readonly bytes: number;
  readonly rank: number;
  readonly modules: number;
  readonly tensorHash: string;
}

/** Runs stages that emit a LoRA's factors and writes them as they come; the file appears when it is whole. */
export async function streamLora(
  runner: NetworkRunner,
  stages: PreparedNetwork,
  load: NetworkRun['load'],
  file: LoraFileRequest,
): Promise<LoraOutcome> {
  const [outcome] = await streamLoras(runner, stages, { load }, [file]);
  if (!outcome) throw new I2lError('INTERNAL', `${file.output} was not written.`);
  return outcome;
}

/** What the stages run over: their state, and fewer images than planned if `images` says so. */
export type StreamInput = Pick<NetworkRun, 'load'> & { readonly images?: number };

/**
 * As {@link streamLora}, for LoRAs of the same modules whose ranks lie side by side in what the stages emit.
 * @returns one outcome a file, in their order; if anything fails none of them appears
 */
export async function streamLoras(
  runner: NetworkRunner,
  stages: PreparedNetwork,
  { load, images }: StreamInput,
  files: readonly LoraFileRequest[],
): Promise<LoraOutcome[]> {
  const writers: LoraWriter[] = [];
  try {
    for (const { output, metadata, ...shape } of files) writers.push(new LoraWriter(output, shape, metadata));
    const places = placesOf(files);
    const sink = (name: string, tensor: HostTensor): void => {
      const place = places.get(name);
      if (!place) throw new I2lError('INTERNAL', `${name} is not a factor of this LoRA.`);
      const { path, factor, modules } = place;
      partsOf(tensor, factor, modules).forEach((part, i) => writers[i]?.write(path, factor, part));
    };
    await runner.run(stages, { load, sink }, images);
    return writers.map((writer, i) => outcomeOf(files[i] as LoraFileRequest, writer));
  } catch (error) {
    for (const writer of writers) writer.abort();
    throw error;
  }
}

function outcomeOf({ output, modules }: LoraFileRequest, writer: LoraWriter): LoraOutcome {
  const tensorHash = writer.finish();
  const rank = Math.max(...modules.map((module) => module.rank));
  return { output, bytes: writer.bytes, rank, modules: modules.length, tensorHash };
}

interface Place {
  readonly path: string;
  readonly factor: Factor;
  /** This module of every file. */
  readonly modules: readonly RankedModule[];
}

function placesOf(files: readonly LoraFileRequest[]): Map<string, Place> {
  const places = new Map<string, Place>();
  files[0]?.modules.forEach(({ path }, at) => {
    const modules = files.map((file) => file.modules[at] as RankedModule);
    for (const factor of ['A', 'B'] as const) places.set(factorName(path, factor), { path, factor, modules });
  });
  return places;
}

/**
 * Cuts a factor of all files into each file's own: rows of A [ranks, in], columns of B [out, ranks]. Ranks
 * behind the last file's are nobody's.
 */
function partsOf(tensor: HostTensor, factor: Factor, modules: readonly RankedModule[]): HostTensor[] {
  const [only] = modules;
  const ranks = tensor.dims[factor === 'A' ? 0 : 1];
  if (modules.length === 1 && only?.rank === ranks) return [tensor];
  let first = 0;
  return modules.map((module) => {
    const from = first;
    first += module.rank;
    return factor === 'A' ? rowsOf(tensor, from, module) : columnsOf(tensor, from, module);
  });
}

function rowsOf({ data }: HostTensor, first: number, { rank, in: inner }: RankedModule): HostTensor {
  return { data: data.subarray(first * inner, (first + rank) * inner), dims: [rank, inner] };
}

function columnsOf({ data, dims }: HostTensor, first: number, { rank, out }: RankedModule): HostTensor {
  const all = dims[1] ?? 0;
  const own = data.slice(0, out * rank);
  for (let row = 0; row < out; row++) {
    for (let column = 0; column < rank; column++) own[row * rank + column] = data[row * all + first + column] as number;
  }
  return { data: own, dims: [out, rank] };
}
