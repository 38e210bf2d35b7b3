import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import type { Metadata } from '../lora/metadata.ts';
import { LoraWriter, type LoraShape } from '../lora/write-lora.ts';
import type { Factor } from '../lora/keys.ts';
import type { NetworkRun } from '../offload/group.ts';
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

/** Ranks first .. first + count of a factor. */
export interface Ranks {
  readonly first: number;
  readonly count: number;
}

/** A part of every module's factors that stages emit by itself; a LoRA's parts lie side by side in their order. */
export interface LoraPart {
  readonly nameOf: (module: string, factor: Factor) => string;
  /** Which of its ranks a file gets; undefined for a module that this part leaves out. */
  readonly ranksOf: (file: number, module: string) => Ranks | undefined;
}

/** What the stages run over: their state, and fewer images than planned if `images` says so. */
export type StreamInput = Pick<NetworkRun, 'load'> & { readonly images?: number; readonly parts: readonly LoraPart[] };

/**
 * Runs stages that emit the factors of LoRAs of the same modules, and writes them as they come.
 * @returns one outcome a file, in their order; the files appear once all are whole: of what fails before that, none does
 */
export async function streamLoras(
  runner: NetworkRunner,
  stages: PreparedNetwork,
  { load, images, parts }: StreamInput,
  files: readonly LoraFileRequest[],
): Promise<LoraOutcome[]> {
  const writers: LoraWriter[] = [];
  try {
    for (const { output, metadata, ...shape } of files) writers.push(new LoraWriter(output, shape, metadata));
    const factors = factorsOf(files, parts);
    const sink = (name: string, tensor: HostTensor): void => {
      const factor = factors.get(name);
      if (!factor) throw new I2lError('INTERNAL', `${name} is not a factor of this LoRA.`);
      factor.arrived.set(name, tensor);
      if (factor.arrived.size < factor.parts.length) return;
      writers.forEach((writer, file) => writer.write(factor.path, factor.factor, joined(factor, file)));
      factor.arrived.clear();
    };
    await runner.run(stages, { load, sink }, images);
    const outcomes: LoraOutcome[] = [];
    for (const [i, writer] of writers.entries()) outcomes.push(await outcomeOf(files[i] as LoraFileRequest, writer));
    for (const writer of writers) writer.publish();
    return outcomes;
  } catch (error) {
    for (const writer of writers) writer.abort();
    throw error;
  }
}

async function outcomeOf({ output, modules }: LoraFileRequest, writer: LoraWriter): Promise<LoraOutcome> {
  const tensorHash = await writer.seal();
  const rank = Math.max(...modules.map((module) => module.rank));
  return { output, bytes: writer.bytes, rank, modules: modules.length, tensorHash };
}

/** A factor of a module while its parts come in. */
interface ArrivingFactor {
  readonly path: string;
  readonly factor: Factor;
  /** Those that have this module. */
  readonly parts: readonly LoraPart[];
  /** By the names that they are emitted under. */
  readonly arrived: Map<string, HostTensor>;
}

function factorsOf(files: readonly LoraFileRequest[], parts: readonly LoraPart[]): Map<string, ArrivingFactor> {
  const factors = new Map<string, ArrivingFactor>();
  for (const { path } of files[0]?.modules ?? []) {
    const own = parts.filter((part) => part.ranksOf(0, path));
    for (const factor of ['A', 'B'] as const) {
      const arriving = { path, factor, parts: own, arrived: new Map<string, HostTensor>() };
      for (const part of own) factors.set(part.nameOf(path, factor), arriving);
    }
  }
  return factors;
}

/** A file's own ranks of all parts: rows of A [ranks, in], columns of B [out, ranks]. */
function joined({ path, factor, parts, arrived }: ArrivingFactor, file: number): HostTensor {
  const pieces = parts.map((part) => {
    const tensor = arrived.get(part.nameOf(path, factor)) as HostTensor;
    return { tensor, ...(part.ranksOf(file, path) as Ranks) };
  });
  const [only] = pieces;
  if (pieces.length === 1 && only && only.count === only.tensor.dims[factor === 'A' ? 0 : 1]) return only.tensor;
  return factor === 'A' ? joinedRows(pieces) : joinedColumns(pieces);
}

type Piece = Ranks & { readonly tensor: HostTensor };

function joinedRows(pieces: readonly Piece[]): HostTensor {
  const inner = pieces[0]?.tensor.dims[1] ?? 0;
  const rank = pieces.reduce((sum, { count }) => sum + count, 0);
  const all = emptyLike(pieces, rank * inner);
  let at = 0;
  for (const { tensor, first, count } of pieces) {
    all.set((tensor.data as Float32Array).subarray(first * inner, (first + count) * inner), at);
    at += count * inner;
  }
  return { data: all, dims: [rank, inner] };
}

function joinedColumns(pieces: readonly Piece[]): HostTensor {
  const out = pieces[0]?.tensor.dims[0] ?? 0;
  const rank = pieces.reduce((sum, { count }) => sum + count, 0);
  const all = emptyLike(pieces, out * rank);
  let column = 0;
  for (const { tensor, first, count } of pieces) {
    const [data, stride] = [tensor.data as Float32Array, tensor.dims[1] ?? 0];
    for (let row = 0; row < out; row++)
      for (let i = 0; i < count; i++) all[row * rank + column + i] = data[row * stride + first + i] as number;
    column += count;
  }
  return { data: all, dims: [out, rank] };
}

/** f32, or the bits of f16 or bf16: the pieces are of one type. */
function emptyLike(pieces: readonly Piece[], length: number): Float32Array | Uint16Array {
  return pieces[0]?.tensor.data instanceof Float32Array ? new Float32Array(length) : new Uint16Array(length);
}
